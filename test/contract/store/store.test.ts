import { storeContract } from "./store-contract.ts";

storeContract("memory");
storeContract("sqlite");
storeContract("lmdb");
storeContract("indexeddb");
