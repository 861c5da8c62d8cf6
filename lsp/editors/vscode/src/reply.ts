// What the language server answers to a command, made into something that can be shown. Nothing here needs an editor.

/** A text to show. */
export interface Report {
  title: string;
  /** The language that the editor colours it as; `mermaid` is drawn. */
  language: string;
  text: string;
}

/** The envoy whose values are shown, and those that may be picked. */
export interface Envoys {
  envoy: string | undefined;
  candidates: string[];
}

type Fields = Record<string, unknown>;

const isFields = (value: unknown): value is Fields => typeof value === "object" && value !== null && !Array.isArray(value);
const textOf = (value: unknown): string | undefined => (typeof value === "string" && value.trim() !== "" ? value : undefined);

/** The report in a reply; nothing when there is nothing to show. Data without a text is shown as JSON. */
export function reportOf(reply: unknown, title: string): Report | undefined {
  if (reply === null || reply === undefined) return undefined;
  if (typeof reply === "string") return textOf(reply) === undefined ? undefined : { title, language: "plaintext", text: reply };
  if (isFields(reply) && typeof reply["text"] === "string") {
    if (!textOf(reply["text"])) return undefined;
    return {
      title: textOf(reply["title"]) ?? title,
      language: textOf(reply["language"]) ?? "plaintext",
      text: reply["text"],
    };
  }
  return { title, language: "json", text: JSON.stringify(reply, null, 2) };
}

/** The envoys in the reply to `vigo.selectEnvoy`; each once, in the order of the server. */
export function envoysOf(reply: unknown): Envoys {
  const fields = isFields(reply) ? reply : {};
  const listed = Array.isArray(fields["candidates"]) ? fields["candidates"] : [];
  const candidates = [...new Set(listed.flatMap((name) => textOf(name) ?? []))];
  return { envoy: textOf(fields["envoy"]), candidates };
}

/** What went wrong, without the stack that an error may carry. */
export function messageOf(error: unknown): string {
  if (isFields(error) && typeof error["message"] === "string") return error["message"];
  return String(error);
}
