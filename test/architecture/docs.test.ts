/** What the documents say of the source, compared with the source. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { USAGE } from '../../registrar/cli/usage.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SOURCE_FOLDERS = ['core', 'config', 'registrar', 'media-relay', 'softphone'];
const DOTTED = /^[a-z][A-Za-z]*(?:\.[A-Za-z-]+)+$/;

function textOf(file: string): string {
  return readFileSync(path.join(ROOT, file), 'utf8');
}

/** The first cells of all table rows, when they are code. */
function listed(file: string): string[] {
  return [...textOf(file).matchAll(/^\| `([^`]+)` *\|/gm)].map(([, code = '']) => code).sort();
}

/** Every dotted word in quotes in the source, for which `isWanted`. */
function literals(isWanted: (literal: ts.StringLiteral) => boolean): string[] {
  const found = new Set<string>();
  for (const folder of SOURCE_FOLDERS) {
    for (const name of readdirSync(path.join(ROOT, folder), {
      recursive: true,
      encoding: 'utf8',
    })) {
      if (!name.endsWith('.ts')) continue;
      const file = path.join(folder, name);
      const source = ts.createSourceFile(file, textOf(file), ts.ScriptTarget.Latest, true);
      const visit = (node: ts.Node): void => {
        if (ts.isStringLiteral(node) && DOTTED.test(node.text) && isWanted(node)) {
          found.add(node.text);
        }
        ts.forEachChild(node, visit);
      };
      visit(source);
    }
  }
  return [...found].sort();
}

/** `new SomeError('this', ...)`, `super('this', ...)`, and the helpers that make the same. */
function isErrorCode(literal: ts.StringLiteral): boolean {
  const { parent } = literal;
  if (ts.isNewExpression(parent)) return parent.expression.getText().endsWith('Error');
  if (ts.isCallExpression(parent))
    return /^(?:super|fault|note)$/.test(parent.expression.getText());
  if (ts.isPropertyAssignment(parent)) return parent.name.getText() === 'code';
  // What stands in for an error without a code of its own: `error.code ?? 'this'`, `isKnown ? error.code : 'this'`.
  if (ts.isBinaryExpression(parent) && parent.operatorToken.getText() !== '??') return false;
  if (ts.isBinaryExpression(parent) || ts.isConditionalExpression(parent)) {
    return /\bcode\b/.test(parent.getText());
  }
  // The media relay's list of words of others: `[/pattern/, 'this', status]`.
  const isList = ts.isArrayLiteralExpression(parent);
  return isList && parent.elements[0]?.kind === ts.SyntaxKind.RegularExpressionLiteral;
}

/** `log.warn('this', ...)`, and what leads to it through a name. */
function isLogEvent(literal: ts.StringLiteral): boolean {
  for (let node: ts.Node = literal.parent; ; node = node.parent) {
    if (ts.isVariableDeclaration(node)) return node.name.getText() === 'event';
    if (ts.isCallExpression(node)) {
      const isFirst = node.arguments[0] === literal;
      return (
        isFirst &&
        /(?:\blog|Log)\.(?:error|warn|info|debug)$|\.#logFailure$/.test(node.expression.getText())
      );
    }
    if (!ts.isConditionalExpression(node)) return false;
  }
}

/** What the engine may count as a refusal: `refusals.add('this')`, `{ kind: 'this', status: ... }`, and their like. */
function refusalKinds(): string[] {
  const engine = readdirSync(path.join(ROOT, 'registrar/engine'), {
    recursive: true,
    encoding: 'utf8',
  })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => textOf(path.join('registrar/engine', name)))
    .join('\n');
  const found = [
    /refusals\.add\((?:[^()'\n]*\? )?'([\w.]+)'/g,
    /refusals\.add\([^()'\n]*\? '[\w.]+' : '([\w.]+)'/g,
    /\{\s*kind: '(\w+)',\s*status\b/g,
    /'(\w+(?:Refused|Dropped))'/g,
    // What stands for a connection that is not taken, or is given up.
    /(?:return|\?|:) '(connections\w*|silentConnection|stalledMessage|flowTimer)'/g,
  ].flatMap((pattern) => [...engine.matchAll(pattern)]);
  // A stream that cannot be cut counts under the code of its fault.
  const faults = textOf('core/sip/stream-framer.ts').matchAll(/'(sip\.[\w.]+)'/g);
  return [...new Set([...found, ...faults].map(([, kind = '']) => kind))].sort();
}

/** Paths of files and folders that a document names: links, and words in code with a folder of ours in front. */
function pathsIn(file: string): string[] {
  const text = textOf(file);
  const links = [...text.matchAll(/\]\(([^)#]+)\)/g)].map(([, target = '']) => target);
  const words = [...text.matchAll(/`([\w.-]+(?:\/[\w.*-]+)*\/?)`/g)].map(([, word = '']) => word);
  const tops = new Set([...SOURCE_FOLDERS, 'test', 'docs', 'docker']);
  const named = words.filter((word) => word.includes('/') && tops.has(word.split('/')[0] ?? ''));
  const folder = path.dirname(file);
  return [
    ...links.filter((link) => !link.includes(':')).map((link) => path.join(folder, link)),
    ...named,
  ];
}

/** A cell that is nothing but paths in code, with commas between; empty when it is anything else. */
function pathsAsListed(cell: string): string[] {
  const paths = cell.split(', ').map((word) => /^`([^`]+)`$/.exec(word)?.[1] ?? '');
  return paths.includes('') ? [] : paths;
}

describe('documents', () => {
  it('list every error code, and none that is not there', () => {
    assert.deepEqual(listed('docs/errors.md'), literals(isErrorCode));
  });

  it('list every log event, and none that is not there', () => {
    assert.deepEqual(listed('docs/log-events.md'), literals(isLogEvent));
  });

  it('list every kind of refusal that is counted, and none that is not there', () => {
    const [, kinds = ''] = textOf('docs/counters.md').split(/^## Kinds of refusal$/m);
    const [table = ''] = kinds.split(/^## /m);
    const cells = [...table.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell = '']) =>
      cell.split(',').map((kind) => kind.trim().slice(1, -1)),
    );
    // `sip.contentlength.missing`, `.malformed`: what begins with a dot goes on from the one before.
    const listedKinds = cells.map((kind, at) =>
      kind.startsWith('.') ? `${(cells[at - 1] ?? '').replace(/\.\w+$/, '')}${kind}` : kind,
    );
    assert.deepEqual(listedKinds.sort(), refusalKinds());
  });

  for (const file of [
    'ARCHITECTURE.md',
    'README.md',
    'SECURITY.md',
    'CONTRIBUTING.md',
    'docs/rfc.md',
    'docs/drachtio.md',
  ]) {
    it(`name no file that is not there: ${file}`, () => {
      const paths = pathsIn(file);
      assert.notEqual(paths.length, 0);
      assert.deepEqual(
        paths.filter((named) => !existsSync(path.join(ROOT, named))),
        [],
      );
    });
  }

  it('cite in docs/rfc.md every RFC that the source cites, and none besides', () => {
    const cited = new Set<string>();
    for (const folder of SOURCE_FOLDERS) {
      for (const name of readdirSync(path.join(ROOT, folder), {
        recursive: true,
        encoding: 'utf8',
      })) {
        if (!name.endsWith('.ts')) continue;
        for (const [, number = ''] of textOf(path.join(folder, name)).matchAll(/RFC (\d{3,4})/g)) {
          cited.add(number);
        }
      }
    }
    const rows = new Set(
      [...textOf('docs/rfc.md').matchAll(/^(?:## RFC|\|) (\d{3,4})(?= |:)/gm)].map(
        ([, number = '']) => number,
      ),
    );
    assert.deepEqual([...rows].sort(), [...cited].sort());
  });

  it('say in each row of docs/rfc.md where it is done and what holds it, or that it is not done', () => {
    const sections = textOf('docs/rfc.md').split(/^##+ /m);
    let rows = 0;
    for (const section of sections) {
      const notes = [...section.matchAll(/^(\d+)\. /gm)].map(([, number = '']) => number);
      const used: string[] = [];
      for (const [line] of section.matchAll(/^\| .*\|$/gm)) {
        const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
        const [doneIn = '', heldBy = '', note = ''] = cells.slice(-4, -1);
        if (doneIn === 'done in' || /^-+$/.test(doneIn)) continue;
        rows += 1;
        const sources = pathsAsListed(doneIn);
        const tests = pathsAsListed(heldBy);
        assert.ok(doneIn === '**not done**' || sources.length > 0, line);
        assert.ok(heldBy === 'none' || tests.length > 0, line);
        assert.ok(
          sources.every((file) => SOURCE_FOLDERS.includes(file.split('/')[0] ?? '')),
          line,
        );
        assert.ok(
          tests.every((file) => file.startsWith('test/')),
          line,
        );
        if (note !== '') used.push(note);
      }
      assert.deepEqual(used, notes, section.slice(0, 40));
    }
    assert.ok(rows > 100, `only ${rows} rows were read`);
  });

  it('show commands that exist', () => {
    const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };
    for (const file of ['README.md', 'CONTRIBUTING.md']) {
      const text = textOf(file);
      for (const [command, name = ''] of text.matchAll(/npm (?:run )?(?!ci\b)([a-z][\w:-]*)/g)) {
        if (command.startsWith('npm run') || ['start', 'test'].includes(name)) {
          assert.ok(name in scripts, `${file}: ${command}`);
        }
      }
      for (const [, word = ''] of text.matchAll(/npx parley ([a-z]+)/g)) {
        assert.match(USAGE, new RegExp(`^  parley ${word}\\b`, 'm'), `${file}: parley ${word}`);
      }
    }
  });
});
