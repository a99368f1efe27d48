import type { en } from "./en.ts"; export const ru: typeof en = {} as typeof en;
