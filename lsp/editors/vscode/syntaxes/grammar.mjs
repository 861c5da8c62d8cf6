// The TextMate grammars, written with names for the pieces; `build.mjs` makes the JSON that editors read.
//
// A block mapping is not nested here: every line says by itself what it is. What may go on over several lines, a block
// scalar or a condition, is held by `while`, which compares indentation with the key, so that nothing that is open at
// its end (a template without `}}`) colours what follows.

// Plain scalars begin and go on as in grammar/src/document/lexer.rs; in brackets `,[]{}` end them.
const head = String.raw`(?:[^\s\-?:,\[\]{}#&*!|>'"%@${"`"}]|[\-?:](?=\S))`;
const flowHead = String.raw`(?:[^\s\-?:,\[\]{}#&*!|>'"%@${"`"}]|[\-?:](?=[^\s,\[\]{}]))`;
const quotedKey = String.raw`"(?:\\.|[^"\\])*"|'(?:''|[^'])*'`;
const key = String.raw`(?:${quotedKey}|${head}(?:[^:#]|:(?=\S)|(?<=\S)#)*?)`;
const flowMore = String.raw`(?:[^:#,\[\]{}]|:(?=[^\s,\[\]{}])|(?<=\S)#)`;
const flowKey = String.raw`(?:${quotedKey}|${flowHead}${flowMore}*?)`;
const colon = String.raw`[ \t]*(:)(?=[ \t]|$)`;
const flowColon = String.raw`[ \t]*(:)(?=[ \t,\[\]{}]|$)`;

// Where a scalar ends: the line or a comment, and in brackets what closes it.
const end = String.raw`(?=[ \t]*$|[ \t]+#)`;
const flowEnd = String.raw`(?=[ \t]*(?:$|[,\]}])|[ \t]+#)`;

const number = String.raw`[-+]?(?:0o[0-7]+|0x[0-9A-Fa-f]+|(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)`;

/** Keys of the language that decide whether, how often and in which order something happens. */
const control = "foreach|case|match|depends_on|before|notify|subscribes";
/** The other keys of the language. All that are in neither list are attributes, or names of the author. */
const section = [
  "module|configcrate|configcrates|doc|params|vars|defaults|resources|nodes|envoys|roles|includes|modules|exclude_modules",
  "environment|environment_overrides|conditional_vars|env|test|tests|envoy|traits|expect|order|snapshot",
].join("|");

const scopes = {
  control: "keyword.control.vgo",
  section: "keyword.other.section.vgo",
  attribute: "support.type.property-name.vgo",
  when: "keyword.control.when.vgo",
  colon: "punctuation.separator.key-value.mapping.vgo",
  dash: "punctuation.definition.block.sequence.item.vgo",
  block: "keyword.control.block-scalar.vgo",
  chomping: "storage.modifier.block-scalar.vgo",
};

const use = (name) => ({ include: `#${name}` });
/** The scope of each group, from the first one on; a list stands for patterns. */
const groups = (...names) =>
  Object.fromEntries(
    names.flatMap((name, i) => (name ? [[i + 1, Array.isArray(name) ? { patterns: name } : { name }]] : [])),
  );
const string = (kind, open, close, patterns) => ({
  name: `string.quoted.${kind}.vgo`,
  begin: open,
  beginCaptures: { 0: { name: "punctuation.definition.string.begin.vgo" } },
  end: close,
  endCaptures: { 0: { name: "punctuation.definition.string.end.vgo" } },
  patterns,
});

const dashes = [{ match: "-", name: scopes.dash }];

const blockKey = (words, scope, value) => ({
  begin: String.raw`^[ \t]*((?:-[ \t]+)*)(${words})${colon}`,
  beginCaptures: groups(dashes, scope, scopes.colon),
  end: "$",
  patterns: [use(value)],
});
const inFlow = (words) => String.raw`(?<=[{,\[\s])(${words})${flowColon}`;
const flowWord = (words, scope) => ({ match: inFlow(words), captures: groups(scope, scopes.colon) });
const flowPair = (word, value) => ({
  begin: inFlow(word),
  beginCaptures: groups(scopes.section, scopes.colon),
  end: String.raw`(?=[,\]}])`,
  patterns: [use(value)],
});

/** Patterns of a capture: `$` is its end, but there is no sign for its beginning. */
const anyKey = [
  { match: String.raw`(?<!\S)(?:${control})$`, name: scopes.control },
  { match: String.raw`(?<!\S)(?:name|type|${section})$`, name: scopes.section },
  { match: String.raw`\S.*$`, name: scopes.attribute },
];
const blockHeader = String.raw`([|>])([-+1-9]*)[ \t]*(#.*)?$`;
const blockScalar = (begin, before, inside) => ({
  begin: begin + blockHeader,
  beginCaptures: groups(...before, scopes.block, scopes.chomping, [use("comment")]),
  while: String.raw`^(?:${inside} +|[ \t]*$)`,
  contentName: "string.unquoted.block.vgo",
  patterns: [use("template-in-block")],
});

/** A condition under its key: everything that is indented more than the key. */
const whenBlock = (begin, before, inside) => ({
  name: "meta.when.vgo",
  begin: `${begin}(when)${colon}`,
  beginCaptures: groups(...before, scopes.when, scopes.colon),
  while: String.raw`^(?:${inside} +(?=\S)|[ \t]*$)`,
  patterns: [use("when-value")],
});
const whenQuoted = (quote, close, patterns) => ({
  name: "meta.embedded.when.vgo",
  begin: String.raw`(?<=:)[ \t]*(${quote})`,
  beginCaptures: groups("punctuation.definition.string.begin.vgo"),
  end: close,
  endCaptures: { 0: { name: "punctuation.definition.string.end.vgo" } },
  patterns: [...patterns, use("when-tokens")],
});
const whenText = (kind, open, close, patterns = []) => ({
  name: `string.quoted.${kind}.when.vgo`,
  begin: open,
  end: close,
  patterns,
});

/** An action. `close`: what ends the scalar around it, so that an action or a text that is not closed ends there, too. */
const action = (close, texts = plainTexts) => ({
  patterns: [
    {
      name: "comment.block.template.vgo",
      begin: String.raw`\{\{(?:-\s)?\s*/\*`,
      end: String.raw`\*/(?:\s-|\s*)\}\}|${close}`,
      patterns: [use("allow")],
    },
    {
      name: "meta.embedded.template.vgo",
      begin: String.raw`(\{\{)(-(?=\s))?`,
      beginCaptures: groups("punctuation.definition.template.begin.vgo", "keyword.operator.trim.vgo"),
      end: String.raw`(?:(?<=\s)(-))?(\}\})|(?=\{\{)|${close}`,
      endCaptures: groups("keyword.operator.trim.vgo", "punctuation.definition.template.end.vgo"),
      patterns: [
        texts(close),
        { name: "string.quoted.other.template.vgo", begin: "`", end: "`|" + close },
        use("template-tokens"),
      ],
    },
  ],
});
const plainTexts = (close) => ({
  name: "string.quoted.double.template.vgo",
  begin: '"',
  end: `"|$|${close}`,
  patterns: [
    {
      match: String.raw`\\(?:[abfnrtv\\"]|x[0-9A-Fa-f]{2}|[0-7]{3}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})`,
      name: "constant.character.escape.template.vgo",
    },
  ],
});
/** In a scalar in double quotes, where the quotes of the action are escaped. */
const escapedTexts = (close) => ({
  name: "string.quoted.double.template.vgo",
  begin: String.raw`\\"`,
  end: String.raw`\\"|$|${close}`,
  patterns: [{ match: String.raw`\\\\(?:\\\\|\\"|.)`, name: "constant.character.escape.template.vgo" }],
});
const secret = (before, after) => ({
  match: String.raw`${before}(secret:)([^\s,\[\]{}"']+)${after}`,
  name: "constant.other.secret.vgo",
  captures: groups("keyword.other.secret.vgo"),
});
/** `before` a scalar stands one of these, so that a `true` inside a text is none. */
const constants = (before, after) => [
  secret(before, after),
  { match: `${before}(?:true|false)${after}`, name: "constant.language.boolean.vgo" },
  { match: `${before}(?:null|~)${after}`, name: "constant.language.null.vgo" },
  { match: `${before}${number}${after}`, name: "constant.numeric.vgo" },
];
const structured = ["comment", "unquoted-template", "flow-mapping", "flow-sequence", "double", "single"].map(use);

const endOfSingle = "(?='(?!'))";
const endOfDouble = String.raw`(?=(?<!\\)")`;

const repository = {
  comment: {
    match: String.raw`(?:^|(?<=[ \t]))(#)(.*)$`,
    name: "comment.line.number-sign.vgo",
    captures: groups("punctuation.definition.comment.vgo", [use("allow")]),
  },
  allow: {
    match: String.raw`\b(vigo:)[ \t]*(allow)(\()([A-Za-z0-9-]*)(\))`,
    captures: groups("storage.type.class.allow.vgo", "storage.type.class.allow.vgo", null, "variable.other.slug.vgo"),
  },
  "document-start": { match: String.raw`^---(?=\s|$)`, name: "entity.other.document.begin.vgo" },

  "when-block": {
    patterns: [
      whenBlock("^( *)(-)( +)", [null, scopes.dash, null], String.raw`\1 \3`),
      whenBlock("^( *)", [null], String.raw`\1`),
    ],
  },
  "when-value": {
    patterns: [
      use("comment"),
      {
        match: String.raw`(?<=:)[ \t]+([|>])([-+1-9]*)(?=[ \t]*$|[ \t]+#)`,
        captures: groups(scopes.block, scopes.chomping),
      },
      use("when-double"),
      use("when-single"),
      use("flow-mapping"),
      {
        name: "meta.embedded.when.vgo",
        begin: String.raw`(?=\S)`,
        end: String.raw`$|(?=[ \t]#)`,
        patterns: [use("when-strings"), use("when-tokens")],
      },
    ],
  },
  "when-in-flow": {
    begin: inFlow("when"),
    beginCaptures: groups(scopes.when, scopes.colon),
    end: String.raw`(?=[,\]}])`,
    patterns: [
      use("comment"),
      use("when-double"),
      use("when-single"),
      use("flow-mapping"),
      {
        name: "meta.embedded.when.vgo",
        begin: `(?=${flowHead})`,
        end: String.raw`(?=[,\[\]{}])|(?=[ \t]+#)|$`,
        patterns: [use("when-strings"), use("when-tokens")],
      },
    ],
  },
  "when-double": whenQuoted('"', '"', [
    whenText("double", String.raw`\\"`, String.raw`\\"|${endOfDouble}`),
    whenText("single", "'", `'|${endOfDouble}`),
  ]),
  "when-single": whenQuoted("'", "'(?!')", [
    whenText("single", "''", `''|${endOfSingle}`),
    whenText("double", '"', `"|${endOfSingle}`, [use("when-escape")]),
  ]),
  "when-strings": {
    patterns: [whenText("single", "'", "'|$"), whenText("double", '"', '"|$', [use("when-escape")])],
  },
  "when-escape": {
    patterns: [
      { match: String.raw`\\["\\nt]`, name: "constant.character.escape.when.vgo" },
      { match: String.raw`\\.`, name: "invalid.illegal.escape.when.vgo" },
    ],
  },
  // grammar/src/when/lexer.rs
  "when-tokens": {
    patterns: [
      { match: String.raw`\{\{|\}\}|===|!==|=~|!~|~=|<>`, name: "invalid.illegal.operator.when.vgo" },
      { match: String.raw`&&|\|\||==|!=|<=|>=|<|>|!`, name: "keyword.operator.when.vgo" },
      { match: String.raw`\b(?:in|matches)\b(?!\.)`, name: "keyword.operator.word.when.vgo" },
      { match: String.raw`\b(?:true|false)\b(?!\.)`, name: "constant.language.boolean.when.vgo" },
      { match: String.raw`(?<![\w.])[+-]?\.?[0-9](?:[0-9A-Za-z_.]|[eE][+-])*`, name: "constant.numeric.when.vgo" },
      {
        match: String.raw`\b(traits|vars|item)\b((?:\.[A-Za-z0-9_-]*)*)`,
        captures: groups("variable.language.when.vgo", "variable.other.property.when.vgo"),
      },
      { match: "[A-Za-z_][A-Za-z0-9_]*", name: "entity.name.function.when.vgo" },
      { match: String.raw`[()\[\]]`, name: "punctuation.brackets.when.vgo" },
      { match: ",", name: "punctuation.separator.when.vgo" },
    ],
  },

  "block-scalar": {
    patterns: [
      blockScalar(
        String.raw`^( *)(-)( +)(${key})${colon}[ \t]+`,
        [null, scopes.dash, null, anyKey, scopes.colon],
        String.raw`\1 \3`,
      ),
      blockScalar(String.raw`^( *)(${key})${colon}[ \t]+`, [null, anyKey, scopes.colon], String.raw`\1`),
      blockScalar(String.raw`^( *)(-)[ \t]+`, [null, scopes.dash], String.raw`\1`),
    ],
  },
  "block-key": {
    patterns: [
      blockKey("name", scopes.section, "name-value"),
      blockKey("type", scopes.section, "type-value"),
      blockKey(control, scopes.control, "value"),
      blockKey(section, scopes.section, "value"),
      blockKey(key, scopes.attribute, "value"),
    ],
  },
  "block-item": {
    begin: String.raw`^[ \t]*((?:-[ \t]+)*-)(?=\s|$)`,
    beginCaptures: groups(dashes),
    end: "$",
    patterns: [use("value")],
  },
  "flow-key": {
    patterns: [
      flowPair("name", "name-value-in-flow"),
      flowPair("type", "type-value-in-flow"),
      flowWord(control, scopes.control),
      flowWord(section, scopes.section),
      flowWord(flowKey, scopes.attribute),
    ],
  },
  "name-value": {
    patterns: [
      use("comment"),
      use("double"),
      use("single"),
      { name: "entity.name.function.vgo", begin: `(?=${head})`, end, patterns: [use("template-in-line")] },
      use("value"),
    ],
  },
  "name-value-in-flow": {
    patterns: [
      use("comment"),
      use("double"),
      use("single"),
      { match: flowHead + flowMore + "*?" + flowEnd, name: "entity.name.function.vgo" },
      use("value-in-flow"),
    ],
  },
  "type-value": {
    patterns: [
      use("comment"),
      use("type-quoted"),
      { begin: `(?=${head})`, end, patterns: [use("type-words")] },
      use("value"),
    ],
  },
  "type-value-in-flow": {
    patterns: [
      use("comment"),
      use("type-quoted"),
      { begin: `(?=${flowHead})`, end: String.raw`(?=[,\[\]{}])|$`, patterns: [use("type-words")] },
      use("value-in-flow"),
    ],
  },
  "type-quoted": string("double", '"', '"', [use("type-words")]),
  "type-words": {
    patterns: [
      { match: String.raw`[A-Za-z_][\w-]*`, name: "entity.name.type.vgo" },
      { match: "[<>(),]", name: "punctuation.type.vgo" },
    ],
  },

  value: {
    patterns: [
      ...structured,
      ...constants(String.raw`(?<=[ \t\-])`, end),
      { name: "string.unquoted.plain.vgo", begin: `(?=${head})`, end, patterns: [use("template-in-line")] },
    ],
  },
  "value-in-flow": {
    patterns: [
      ...structured,
      ...constants(String.raw`(?<=[ \t,\[{:])`, flowEnd),
      {
        match: String.raw`${flowHead}${flowMore}*?(?=[ \t]*(?:[,\[\]{}]|$)|[ \t]+#|:[ \t])`,
        name: "string.unquoted.plain.vgo",
      },
    ],
  },
  "flow-mapping": {
    begin: String.raw`\{`,
    beginCaptures: { 0: { name: "punctuation.definition.mapping.begin.vgo" } },
    end: String.raw`\}`,
    endCaptures: { 0: { name: "punctuation.definition.mapping.end.vgo" } },
    patterns: ["comment", "when-in-flow", "flow-key", "flow-comma", "value-in-flow"].map(use),
  },
  "flow-sequence": {
    begin: String.raw`\[`,
    beginCaptures: { 0: { name: "punctuation.definition.sequence.begin.vgo" } },
    end: String.raw`\]`,
    endCaptures: { 0: { name: "punctuation.definition.sequence.end.vgo" } },
    patterns: ["comment", "flow-key", "flow-comma", "value-in-flow"].map(use),
  },
  "flow-comma": { match: ",", name: "punctuation.separator.flow.vgo" },
  // to YAML this is a mapping in a mapping; the compiler says so and offers the quotes
  "unquoted-template": {
    match: String.raw`\{\{.*?(?:\}\}|$)`,
    name: "invalid.illegal.unquoted-template.vgo",
  },
  double: string("double", '"', '"', [
    secret('(?<=")', '(?=")'),
    {
      match: String.raw`\\(?:[0abt\tnvfre "/\\N_LP]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|$)`,
      name: "constant.character.escape.vgo",
    },
    { match: String.raw`\\.`, name: "invalid.illegal.escape.vgo" },
    use("template-in-double"),
  ]),
  single: string("single", "'", "'(?!')", [
    secret("(?<=')", "(?=')"),
    { match: "''", name: "constant.character.escape.vgo" },
    use("template-in-single"),
  ]),

  "template-in-block": action("(?!)"),
  "template-in-line": action("$"),
  "template-in-single": action(endOfSingle),
  "template-in-double": action(endOfDouble, escapedTexts),
  // grammar/src/template/lexer.rs
  "template-tokens": {
    patterns: [
      {
        match: String.raw`(?<![.$\w])(?:if|else|end|range|with|break|continue)\b`,
        name: "keyword.control.template.vgo",
      },
      {
        match: String.raw`(?<![.$\w])(?:define|template|block)\b`,
        name: "invalid.illegal.unsupported.template.vgo",
      },
      { match: String.raw`(?<![.$\w])(?:true|false|nil)\b`, name: "constant.language.template.vgo" },
      {
        match: String.raw`(?<![\w)])\.(?:Vars|Traits|Envoy|Item|Each)\b`,
        name: "variable.language.template.vgo",
      },
      { match: String.raw`\.[\p{L}_][\p{L}\p{Nd}_]*`, name: "variable.other.property.template.vgo" },
      { match: String.raw`\$[\p{L}\p{Nd}_]*`, name: "variable.other.local.template.vgo" },
      {
        match: String.raw`(?<![\w.])[+-]?\.?[0-9](?:[\p{L}\p{Nd}_.]|[eEpP][+-])*`,
        name: "constant.numeric.template.vgo",
      },
      { match: String.raw`\.`, name: "variable.language.dot.template.vgo" },
      { match: String.raw`:=|=|\|`, name: "keyword.operator.template.vgo" },
      { match: String.raw`[\p{L}_][\p{L}\p{Nd}_]*`, name: "entity.name.function.template.vgo" },
      { match: ",", name: "punctuation.separator.template.vgo" },
      { match: "[()]", name: "punctuation.brackets.template.vgo" },
      {
        match: String.raw`'(?:[^'\\\n]|\\[^\n])*'?|[{}!&<>+*/%;?-]`,
        name: "invalid.illegal.template.vgo",
      },
    ],
  },
};

/** Policy files. */
export const policy = {
  name: "Vigo policy",
  scopeName: "source.vgo",
  patterns: ["document-start", "when-block", "block-scalar", "block-key", "block-item", "value"].map(use),
  repository,
};

/** Files below `templates/`: text with actions in it. */
export const template = {
  name: "Vigo template",
  scopeName: "text.vigo-template",
  patterns: [{ include: "source.vgo#template-in-block" }],
};
