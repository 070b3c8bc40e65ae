// As much of node's types as this needs.
export function readFileSync(path: string, encoding: "utf8"): string;
