// Records what the Impact Framework's own engine makes of the manifests here:
//
//   npm install --prefix /somewhere @grnsft/if@1.1.0
//   node record.mjs /somewhere [folder …]
//
// Without folders it records all: cases/*/* (expected.json, output.yaml,
// meta.json) and differences/* (reference.yaml). It runs one manifest at a time
// with this folder as the working directory. Arguments and the mark "random" of
// a meta.json that is there are kept.
import {spawnSync} from 'node:child_process';
import {createRequire} from 'node:module';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const here = import.meta.dirname;
const [prefix, ...chosen] = process.argv.slice(2);
if (!prefix) {
  console.error('usage: node record.mjs PREFIX-OF-THE-NPM-PACKAGE [folder …]');
  process.exit(2);
}
const yaml = createRequire(path.resolve(prefix, 'node_modules', '@grnsft', 'if', 'package.json'))('js-yaml');
const program = path.resolve(prefix, 'node_modules', '.bin', 'if-run');

// json turns what JSON lacks into something that it has.
function json(v) {
  if (typeof v === 'number' && (!Number.isFinite(v) || Object.is(v, -0))) return {$num: Object.is(v, -0) ? '-0' : String(v)};
  if (v instanceof Date) return v.toISOString();
  if (Array.isArray(v)) return v.map(json);
  if (v && typeof v === 'object') return Object.fromEntries(Object.entries(v).map(([k, w]) => [k, json(w)]));
  return v;
}

const without = (text, key) => text.replace(new RegExp(`^${key}:\n(?: .*\n|\n)*`, 'm'), '');
const read = file => (fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : {});
const write = (file, v) => fs.writeFileSync(file, JSON.stringify(v, null, 1) + '\n');

function run(manifest, args) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'record-'));
  const target = path.join(dir, 'out.yaml');
  const r = spawnSync(process.execPath, [program, '-m', manifest, '-o', target, ...args], {cwd: here, encoding: 'utf8'});
  const text = fs.existsSync(target) ? fs.readFileSync(target, 'utf8') : undefined;
  fs.rmSync(dir, {recursive: true});
  return {text, code: r.status, log: r.stdout + r.stderr};
}

function recordCase(dir) {
  const file = name => path.join(dir, name);
  const before = read(file('meta.json'));
  const args = before.args ?? [];
  const {text, code, log} = run(file('manifest.yml'), args);
  for (const name of ['output.yaml', 'expected.json']) fs.rmSync(file(name), {force: true});
  const expected = {status: 'none', error: /Error: .*/.exec(log.replaceAll(/\x1b\[\d+m/g, ''))?.[0] ?? ''};
  if (text !== undefined) {
    const out = yaml.load(text);
    expected.status = out.execution.status;
    expected.error = (out.execution.error ?? '').replace(/\n+Require stack:[^]*/, '');
    if (!before.random) {
      Object.assign(expected, {tree: json(out.tree), initialize: json(out.initialize), topKeys: Object.keys(out)});
      fs.writeFileSync(file('output.yaml'), without(text, 'execution'));
    }
  }
  write(file('expected.json'), expected);
  write(file('meta.json'), {args, exit_code: code, random: before.random ?? false});
  return expected.status;
}

function recordDifference(dir) {
  const {args = []} = read(path.join(dir, 'meta.json'));
  const {text} = run(path.join(dir, 'manifest.yml'), args);
  if (text === undefined) return 'none';
  const out = yaml.load(text);
  delete out.execution.environment;
  delete out.execution.command;
  fs.writeFileSync(path.join(dir, 'reference.yaml'), yaml.dump(out, {noRefs: true}));
  return out.execution.status;
}

const list = dir => (fs.existsSync(dir) ? fs.readdirSync(dir, {withFileTypes: true}).filter(d => d.isDirectory()).map(d => path.join(dir, d.name)).sort() : []);
const folders = chosen.length
  ? chosen.map(f => path.resolve(f))
  : [...list(path.join(here, 'cases')).flatMap(list), ...list(path.join(here, 'differences'))];
for (const dir of folders) {
  const record = path.basename(path.dirname(dir)) === 'differences' ? recordDifference : recordCase;
  console.log(record(dir).padEnd(8), path.relative(here, dir));
}
