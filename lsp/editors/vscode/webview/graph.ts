// Draws the Mermaid text that the extension sends; the text itself where it cannot be drawn.

/** The part of Mermaid's small build that is used here; the page loads it first. */
declare const mermaid: {
  initialize(config: Record<string, unknown>): void;
  render(id: string, text: string): Promise<{ svg: string }>;
};
declare function acquireVsCodeApi(): { postMessage(message: unknown): void };

const editor = acquireVsCodeApi();
const element = (id: string): HTMLElement => {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no ${id}`);
  return found;
};
const graph = element("graph");

/** The width of the drawing in the units of its own coordinates, and how much larger it is shown; 0: as wide as the panel. */
let width = 0;
let zoom = 0;

function resize(): void {
  const svg = graph.querySelector("svg");
  if (svg) svg.style.width = zoom === 0 ? "100%" : `${Math.round(width * zoom)}px`;
}

function zoomBy(factor: number): void {
  const shown = graph.querySelector("svg")?.getBoundingClientRect().width ?? width;
  zoom = Math.min(8, Math.max(0.05, (shown / width) * factor));
  resize();
}

/** A colour of the editor's theme. */
function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--vscode-${name}`).trim();
}

async function draw(text: string): Promise<void> {
  const foreground = colour("editor-foreground");
  const background = colour("editor-background");
  const border = colour("widget-border") || colour("contrastBorder") || foreground;
  mermaid.initialize({
    startOnLoad: false,
    securityLevel: "strict",
    theme: "base",
    themeVariables: {
      background,
      primaryColor: colour("editorWidget-background") || background,
      primaryTextColor: foreground,
      primaryBorderColor: border,
      lineColor: foreground,
      clusterBkg: background,
      clusterBorder: border,
      titleColor: foreground,
      edgeLabelBackground: background,
    },
    maxTextSize: 10_000_000,
    maxEdges: 100_000,
    flowchart: { useMaxWidth: false },
  });
  try {
    const { svg } = await mermaid.render("drawing", text);
    graph.innerHTML = svg;
    const drawing = graph.querySelector("svg");
    width = drawing?.viewBox.baseVal.width || 1;
    drawing?.removeAttribute("height");
    drawing?.style.removeProperty("max-width");
    // small graphs stay as large as they are, large ones fit
    zoom = width < graph.clientWidth ? 1 : 0;
    resize();
  } catch (error) {
    const problem = document.createElement("p");
    problem.className = "error";
    problem.textContent = `This could not be drawn: ${error instanceof Error ? error.message : String(error)}`;
    const source = document.createElement("pre");
    source.textContent = text;
    graph.replaceChildren(problem, source);
  }
}

element("smaller").addEventListener("click", () => zoomBy(0.8));
element("larger").addEventListener("click", () => zoomBy(1.25));
element("whole").addEventListener("click", () => {
  zoom = 0;
  resize();
});
element("copy").addEventListener("click", () => editor.postMessage("copy"));
window.addEventListener("wheel", (event) => {
  if (event.ctrlKey) zoomBy(event.deltaY < 0 ? 1.1 : 1 / 1.1);
});
window.addEventListener("message", (event: MessageEvent<unknown>) => {
  if (typeof event.data === "string") void draw(event.data);
});
editor.postMessage("ready");
