// A snippet for each resource type: the first resource of its example in the standard library, with the values to be
// written over. Types that snippets/vgo.json has something better for are left out.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** What a snippet would take for something else. */
const escaped = (text) => text.replace(/[\\$}]/g, "\\$&");

/** The first resource of an example, without the indentation of the list. */
function firstResource(source) {
  const [, example] = source.match(/^example: \|\n((?:(?: .*)?\n)+)/m) ?? [];
  return example?.split("\n\n")[0].trimEnd().replace(/^ {2}/gm, "");
}

/** Texts and numbers on the line of their key can be written over; what has a structure stays as it is. */
function withPlaces(resource) {
  let places = 0;
  const lines = resource.split("\n").map((line) => {
    const [, key, value] = line.match(/^((?:- | {2})\w+: )([^[{|>].*)$/) ?? [];
    if (value === undefined || key.trim() === "type:") return escaped(line);
    const [, open, inside, close] = value.match(/^(["']?)(.*)(\1)$/);
    return `${key}${open}\${${++places}:${escaped(inside)}}${close}`;
  });
  return [...lines.slice(0, -1), `${lines.at(-1)}$0`];
}

/** @param others the snippets that are written by hand */
export function typeSnippets(folder, others) {
  const taken = new Set(Object.values(others).map(({ prefix }) => prefix));
  const types = readdirSync(folder).map((name) => name.replace(/\.vgo$/, "")).sort();
  return Object.fromEntries(
    types.flatMap((type) => {
      const resource = firstResource(readFileSync(join(folder, `${type}.vgo`), "utf8"));
      if (taken.has(type) || resource === undefined) return [];
      return [[`Resource: ${type}`, { prefix: type, description: `A resource of type ${type}`, body: withPlaces(resource) }]];
    }),
  );
}
