/**
 * `text` with every control, format and unassigned character replaced: what a server says is printed on terminals, where
 * escape sequences and reversed text are a weapon.
 */
export function printable(text: string): string {
  return text.replace(/\p{C}/gu, "\ufffd");
}
