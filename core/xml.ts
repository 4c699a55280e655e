/** Small XML documents as trees: read without entity expansion, written with everything escaped. */

import { XMLParser } from 'fast-xml-parser';
import { ParseError } from './errors.ts';

/** An element that was read. Names and attribute names come without their namespace prefix. */
export type XmlElement = {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** The element's own character data, joined and trimmed; that of its children is not in it. */
  readonly text: string;
};

/** An element to write. Attributes whose value is `undefined` are left out; `text` comes before the children. */
export type XmlSource = {
  readonly name: string;
  readonly attributes?: Readonly<Record<string, string | undefined>>;
  readonly children?: readonly XmlSource[];
  readonly text?: string;
};

const MAXIMUM_CHARACTERS = 1 << 20;
const MAXIMUM_DEPTH = 32;

/** What `preserveOrder` gives: one key with the children, `:@` with the attributes, `#text` for character data. */
type OrderedNode = Record<string, unknown>;

const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: '',
  removeNSPrefix: true,
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  ignoreDeclaration: true,
  ignorePiTags: true,
  // Entities are decoded here instead, so that none can be defined by the document.
  processEntities: false,
  maxNestedTags: MAXIMUM_DEPTH,
});

/**
 * Reads one XML document. Document types are refused, so no entity can be declared or expanded.
 *
 * @throws ParseError `xml.malformed`; `xml.tooLarge` above 1 Mi characters; `xml.doctype`
 */
export function parseXml(text: string): XmlElement {
  if (text.length > MAXIMUM_CHARACTERS) {
    throw new ParseError(
      'xml.tooLarge',
      `XML of ${text.length} > ${MAXIMUM_CHARACTERS} characters`,
    );
  }
  if (/<!(?:DOCTYPE|ENTITY)/i.test(text)) {
    throw new ParseError('xml.doctype', 'document types are not accepted');
  }
  let nodes: unknown;
  try {
    // The validator inside the pinned version is all that is needed; it became a package of its own later.
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- see above
    nodes = parser.parse(text, true);
  } catch (error) {
    throw new ParseError('xml.malformed', error instanceof Error ? error.message : String(error));
  }
  const roots = Array.isArray(nodes)
    ? (nodes as OrderedNode[]).filter((node) => !('#text' in node))
    : [];
  const root = roots[0];
  if (root === undefined || roots.length > 1) {
    throw new ParseError('xml.malformed', `${roots.length} root elements instead of one`);
  }
  return toElement(root);
}

function toElement(node: OrderedNode): XmlElement {
  let name = '';
  let content: OrderedNode[] = [];
  for (const [key, value] of Object.entries(node)) {
    if (key === ':@') continue;
    name = key;
    content = Array.isArray(value) ? (value as OrderedNode[]) : [];
  }
  const attributes = new Map<string, string>();
  for (const [key, value] of Object.entries((node[':@'] ?? {}) as Record<string, unknown>)) {
    attributes.set(key, decodeEntities(String(value)));
  }
  const children: XmlElement[] = [];
  let text = '';
  for (const child of content) {
    if ('#text' in child) text += decodeEntities(String(child['#text']));
    else children.push(toElement(child));
  }
  return { name, attributes, children, text: text.trim() };
}

const PREDEFINED = new Map([
  ['lt', '<'],
  ['gt', '>'],
  ['amp', '&'],
  ['quot', '"'],
  ['apos', "'"],
]);

/** The five predefined entities and character references (XML 1.0 §4.1, §4.6); anything else stays as it is. */
function decodeEntities(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(
    /&(?:#x([0-9a-f]{1,6})|#([0-9]{1,7})|([a-z]+));/gi,
    (whole: string, hex?: string, decimal?: string, name?: string) => {
      if (name !== undefined) return PREDEFINED.get(name) ?? whole;
      const point = hex !== undefined ? parseInt(hex, 16) : parseInt(decimal ?? '', 10);
      return isXmlCharacter(point) ? String.fromCodePoint(point) : '\uFFFD';
    },
  );
}

/** XML 1.0 §2.2: tab, line ends, and everything from space on apart from surrogates and two non-characters. */
function isXmlCharacter(point: number): boolean {
  if (point < 0x20) return point === 0x9 || point === 0xa || point === 0xd;
  if (point > 0x10ffff) return false;
  return (point < 0xd800 || point > 0xdfff) && point !== 0xfffe && point !== 0xffff;
}

/** Writes a document with its declaration; every text and attribute value is escaped, illegal characters go. */
export function serializeXml(root: XmlSource): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${serializeElement(root, '')}\n`;
}

function serializeElement(element: XmlSource, indent: string): string {
  let opening = `${indent}<${element.name}`;
  for (const [name, value] of Object.entries(element.attributes ?? {})) {
    if (value !== undefined) opening += ` ${name}="${escapeText(value)}"`;
  }
  const text = escapeText(element.text ?? '');
  const children = element.children ?? [];
  if (text === '' && children.length === 0) return `${opening}/>`;
  if (children.length === 0) return `${opening}>${text}</${element.name}>`;
  const inner = children.map((child) => serializeElement(child, `${indent}  `)).join('\n');
  return `${opening}>${text}\n${inner}\n${indent}</${element.name}>`;
}

function escapeText(text: string): string {
  let escaped = '';
  for (const character of text) {
    if (!isXmlCharacter(character.codePointAt(0) ?? 0)) continue;
    escaped += ESCAPES.get(character) ?? character;
  }
  return escaped;
}

const ESCAPES = new Map([
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['&', '&amp;'],
  ['"', '&quot;'],
  ['\t', '&#9;'],
  ['\n', '&#10;'],
  ['\r', '&#13;'],
]);
