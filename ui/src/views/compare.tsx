import './compare.css';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { useShared, type Shared } from '../context';
import { ApiError, labelValues, query, queryRange } from '../lib/api';
import { across, bandOf, banded, compare, paired, percents, periods, ratio, sentence, signed, stepFor, type Band, type Difference, type Period } from '../lib/compare';
import { useData } from '../lib/data';
import { change as changeOf, clock, energy, mass, money, scaled, watts } from '../lib/format';
import { byComponent } from '../lib/now';
import { kinds, type Kind } from '../lib/owners';
import { families, joulesByMeter, node, owners } from '../lib/queries';
import { formatDuration, type Range } from '../lib/range';
import { add, known, kindsOf, merge, ownerOf, sorted, where } from '../lib/rows';
import { navigate } from '../lib/route';
import { fromLocal, local } from '../lib/time';
import type { Labels, Point, Series } from '../lib/types';
import { Chart, type Line } from '../parts/Chart';
import { Figure } from '../parts/Figure';
import { Empty, Panel } from '../parts/Panel';
import { sumOver } from './workloads';

interface Who {
  kind: Kind;
  labels: Labels;
}

// Side is one of the two that are compared.
interface Side {
  name: string;
  range: Range;
  who: Who | null; // null: the machine
}

interface Facts {
  joules: Map<string, number>; // by component
  grams: number | null;
  cost: Map<string, number>;
  gramsEach: Point[]; // grams an hour, of equal parts
  costEach: Map<string, Point[]>; // money an hour, by currency
  power: Map<string, Point[]>; // watts of equal parts, by component
  sum: Point[]; // watts, where each component has some
  per: Point[] | null; // requests a second
  band: Band;
  meters: Set<string>; // machine, component and quality of what the figures rest on
  estimated: boolean;
}

const by = (list: Series[], label: string): Map<string, number> => {
  const out = new Map<string, number>();
  for (const x of list) out.set(x.labels[label] ?? '', (out.get(x.labels[label] ?? '') ?? 0) + (x.points.at(-1)?.[1] ?? 0));
  return out;
};

// apart adds up the lines of each value of a label.
const apart = (list: Series[], label: string): Map<string, Point[]> =>
  new Map([...new Set(list.map((x) => x.labels[label] ?? ''))].map((v) => [v, sumOver(list.filter((x) => (x.labels[label] ?? '') === v))]));

// complete is the sum of lines where all of them have a value.
function complete(lines: Point[][]): Point[] {
  const count = new Map<number, number>();
  for (const l of lines) for (const [t] of l) count.set(t, (count.get(t) ?? 0) + 1);
  return sumOver(lines.map((points) => ({ labels: {}, points }))).filter(([t]) => count.get(t) === lines.length);
}

async function facts(s: Shared, side: Side, per: string, signal: AbortSignal): Promise<Facts> {
  const { range, who } = side;
  const scope: Shared = { ...s, range };
  const m = who ? known(who.kind, who.labels) : [];
  const at = (expr: string) => query(expr, range.end, signal);
  // Each point is of the part that ends there: the first of them ends a step after the start.
  const over = (expr: string) => queryRange(expr, range.start + range.step, range.end, range.step, signal);
  const none = Promise.resolve<Series[]>([]);
  const k = who ? kinds[who.kind] : null;
  const [joules, grams, cost, credit, history, gramsHistory, costHistory, meters, machine, errors, requests] = await Promise.all([
    at(who ? owners.joules(scope, who.kind, ['component'], ...m) : node.joules(scope)),
    !k ? at(node.grams(scope)) : k.co2e ? at(owners.grams(scope, who!.kind, [], ...m)) : none,
    !k ? at(node.cost(scope)) : k.cost ? at(owners.cost(scope, who!.kind, ...m)) : none,
    !k ? at(node.credit(scope)) : k.cost ? at(owners.credit(scope, who!.kind, ...m)) : none,
    over(who ? owners.history(scope, who.kind, ['component'], ...m) : node.history(scope)),
    !k ? over(node.gramsHistory(scope)) : k.co2e ? over(owners.gramsHistory(scope, who!.kind, ['phase'], ...m)) : none,
    !k ? over(node.costHistory(scope)) : k.cost ? over(owners.costHistory(scope, who!.kind, [], ...m)) : none,
    at(joulesByMeter(scope)),
    who ? at(node.joules(scope)) : none,
    at(node.errorJoules(scope)),
    per ? over(per.replaceAll('$window', formatDuration(range.step))) : none,
  ]);
  if (requests.length > 1) throw new ApiError('bad_data', `The divisor has ${requests.length} series, and one is needed: put sum(…) around it.`);
  const power = apart(history, 'component');
  const used = by(joules, 'component');
  const whole = by(meters, 'component');
  const money1 = by(cost, 'currency');
  for (const [c, v] of by(credit, 'currency')) money1.set(c, (money1.get(c) ?? 0) - v);
  const all = add((who ? machine : joules).map((x) => x.points[0]?.[1])) ?? 0;
  const relevant = meters.filter((x) => (x.points[0]?.[1] ?? 0) > all / 1000);
  return {
    joules: used,
    grams: add(grams.map((x) => x.points[0]?.[1])),
    cost: money1,
    gramsEach: complete([...apart(gramsHistory, 'phase').values()]),
    costEach: apart(costHistory, 'currency'),
    power,
    sum: complete([...power.values()]),
    per: per ? (requests[0]?.points ?? []) : null,
    band: bandOf(used, whole, by(errors.filter((x) => x.labels.bound === 'low'), 'component'), by(errors.filter((x) => x.labels.bound === 'high'), 'component')),
    meters: new Set(relevant.map((x) => `${x.labels.node ?? ''}/${x.labels.component}/${x.labels.quality}`)),
    estimated: relevant.some((x) => x.labels.quality === 'estimated' && (used.get(x.labels.component ?? '') ?? 0) > 0),
  };
}

const values = (points: Point[] | undefined): number[] => (points ?? []).map(([, v]) => v);

// perEvent has samples of joules for each request, out of parts that have both.
function perEvent(f: Facts): Point[] {
  const rate = new Map(f.per ?? []);
  const both = f.sum.filter(([t]) => rate.has(t));
  return ratio(values(both), both.map(([t]) => rate.get(t)!)).map((v, i): Point => [both[i]![0], v]);
}

// shifted moves times of the first side to the grid of the second.
const shifted = (points: Point[], by: number, step: number): Point[] => points.map(([t, v]): Point => [Math.round((t + by) / step) * step, v]);

// differ compares two lines; by pairs, if by is how much later the second is.
function differ(a: Point[] | undefined, b: Point[] | undefined, by: number | null, step: number): Difference {
  if (by === null) return compare(values(a), values(b));
  const at = new Map(shifted(a ?? [], by, step));
  const both = (b ?? []).filter(([t]) => at.has(t));
  return paired(both.map(([t]) => at.get(t)!), values(both));
}

const nameOf = (who: Who | null): string => (who ? kinds[who.kind].name(who.labels) : 'the machine');
const spanOf = (p: Period): string => {
  const day = 86400;
  const long = clock(p.start, 2 * day).slice(0, 10) !== clock(p.end, 2 * day).slice(0, 10);
  return `${clock(p.start, 2 * day)} – ${long ? clock(p.end, 2 * day) : clock(p.end, day)}`;
};
const iso = (t: number): string => new Date(Math.round(t) * 1000).toISOString();

export function Compare() {
  const s = useShared();
  const { params } = s.route;
  const mode = params.mode === 'owners' ? 'owners' : 'periods';
  const now = s.range.live ? s.range.end : Math.max(s.range.end, s.info.now);
  const first = ownerOf(params);
  const second = ownerOf(params, 'b.');
  const two = periods(s.range, params, now);
  const both = mode === 'owners' ? { a: two.b, b: two.b, release: null } : two;
  const per = s.info.source === 'prometheus' ? (params.per ?? '') : '';
  const longest = Math.max(both.a.end - both.a.start, both.b.end - both.b.start);
  const copies = s.info.long !== null && longest > 3 * 86400;
  const step = stepFor(both, copies && s.info.long ? s.info.long.step_seconds : s.info.step_seconds);
  const rangeOf = (p: Period): Range => ({ start: p.start, end: p.end, seconds: p.end - p.start, live: false, step, window: step, long: copies });
  const complete1 = (w: Who | null): boolean => w === null || Object.keys(w.labels).length > 0;
  const ready = s.info.source !== 'none' && complete1(first) && (mode === 'periods' || complete1(second));
  const a: Side = { name: mode === 'owners' ? nameOf(first) : two.release !== null ? 'before' : 'first', range: rangeOf(both.a), who: first };
  const b: Side = { name: mode === 'owners' ? nameOf(second) : two.release !== null ? 'after' : 'second', range: rangeOf(both.b), who: mode === 'owners' ? second : first };
  const id = JSON.stringify([a, b, per, s.node, s.round]);
  const data = useData(ready ? `compare ${id}` : '', async (signal) => (ready ? { id, sides: await Promise.all([facts(s, a, per, signal), facts(s, b, per, signal)]) } : undefined));
  const go = (to: Record<string, string | undefined>, replace = false) => navigate('compare', { ...params, ...to }, replace);

  return (
    <>
      <Panel title="Compare" name="compare-what" class="compare">
        <div class="compare-form">
          <div class="choices" role="group" aria-label="What to compare">
            <button type="button" aria-pressed={mode === 'periods'} onClick={() => go({ mode: 'periods' })}>Two periods</button>
            <button type="button" aria-pressed={mode === 'owners'} onClick={() => go({ mode: 'owners' })}>Two owners</button>
          </div>
          {s.info.source !== 'none' && (
            <>
              <Picker s={s} label={mode === 'owners' ? 'First' : 'Of'} before="" value={first} go={go} />
              {mode === 'owners' && <Picker s={s} label="Second" before="b." value={second} go={go} />}
              {mode === 'periods' && <PeriodForm s={s} a={two.a} b={two.b} release={two.release} now={now} go={go} />}
            </>
          )}
          {s.info.source === 'prometheus' && <Per value={params.per ?? ''} go={go} />}
        </div>
        {s.info.source === 'none' && <Empty>{s.info.reason ?? 'This agent keeps no history, so there is nothing to compare.'}</Empty>}
        {s.info.source !== 'none' && !ready && <Empty>Choose whose energy to compare.</Empty>}
      </Panel>
      {ready && <Result mode={mode} a={a} b={b} release={two.release} per={per} data={data} />}
    </>
  );
}

type Go = (to: Record<string, string | undefined>, replace?: boolean) => void;

// Picker chooses the machine, or an owner by its kind and then by its name.
function Picker({ s, label, before, value, go }: { s: Shared; label: string; before: string; value: Who | null; go: Go }) {
  const names = useData(`compare kinds ${s.node}/${s.round}`, async (signal) => kindsOf(await labelValues('__name__', families(s), signal, s.range)).filter((k) => k !== 'process'));
  const there: Kind[] = names.value ?? [];
  const kind = value?.kind;
  const known1 = useData(kind ? `compare owners ${kind} ${s.span.seconds}/${s.span.end ?? Math.floor(s.range.end / 300)}/${s.node}` : '', async (signal) => (kind ? sorted(merge(kind, { joules: await query(owners.joules(s, kind), s.range.end, signal) }), (r) => r.joules, true).slice(0, 500) : []));
  const cleared = Object.fromEntries(Object.values(kinds).flatMap((k) => k.labels).map((l) => [before + l, undefined]));
  const rows = known1.value ?? [];
  const text = value ? known(value.kind, value.labels).join(',') : '';
  const chosen = rows.find((r) => kind && known(kind, r.labels).join(',') === text);
  return (
    <div class="compare-field">
      <label>
        {label}{' '}
        <select value={kind ?? ''} onChange={(e) => go({ ...cleared, [`${before}kind`]: e.currentTarget.value || undefined })}>
          <option value="">the machine</option>
          {(kind && !there.includes(kind) ? [...there, kind] : there).map((k) => (
            <option key={k} value={k}>
              {kinds[k].title}
            </option>
          ))}
        </select>
      </label>
      {kind && (
        <select
          aria-label={`${label}: which`}
          value={chosen?.key ?? ''}
          onChange={(e) => {
            const row = rows.find((r) => r.key === e.currentTarget.value);
            if (row) go({ ...cleared, [`${before}kind`]: kind, ...Object.fromEntries(Object.entries(row.labels).map(([k, v]) => [before + k, v])) });
          }}
        >
          {!chosen && <option value="">{Object.keys(value.labels).length > 0 ? kinds[kind].name(value.labels) : 'choose…'}</option>}
          {rows.map((r) => (
            <option key={r.key} value={r.key}>
              {[r.name, where(kind, r)].filter(Boolean).join(' · ')}
            </option>
          ))}
        </select>
      )}
    </div>
  );
}

function PeriodForm({ s, a, b, release, now, go }: { s: Shared; a: Period; b: Period; release: number | null; now: number; go: Go }) {
  const none = { 'a.start': undefined, 'a.end': undefined, release: undefined };
  const ago = (seconds: number) => go({ ...none, 'a.start': iso(b.start - seconds), 'a.end': iso(b.end - seconds), range: formatDuration(b.end - b.start), end: iso(b.end) });
  const set = (p: Period) => p.end - p.start >= 60 && go({ ...none, 'a.start': iso(p.start), 'a.end': iso(p.end) });
  const setB = (p: Period) => p.end - p.start >= 60 && go({ 'a.start': iso(a.start), 'a.end': iso(a.end), release: undefined, range: formatDuration(p.end - p.start), end: iso(p.end) });
  const field = (title: string, value: number, change: (t: number) => void) => (
    <input type="datetime-local" step="1" aria-label={title} value={local(value)} onChange={(e) => Number.isFinite(fromLocal(e.currentTarget.value)) && change(fromLocal(e.currentTarget.value))} />
  );
  return (
    <>
      <fieldset class="compare-field">
        <legend>First</legend>
        {field('First period: start', a.start, (t) => set({ ...a, start: t }))} – {field('First period: end', a.end, (t) => set({ ...a, end: t }))}
      </fieldset>
      <fieldset class="compare-field">
        <legend>Second</legend>
        {field('Second period: start', b.start, (t) => setB({ ...b, start: t }))} – {field('Second period: end', b.end, (t) => setB({ ...b, end: t }))}
      </fieldset>
      <div class="choices" role="group" aria-label="First period">
        <button type="button" aria-pressed={release === null && !s.route.params['a.end']} onClick={() => go(none)}>the one before</button>
        <button type="button" onClick={() => ago(86400)}>a day before</button>
        <button type="button" onClick={() => ago(7 * 86400)}>a week before</button>
      </div>
      <label class="compare-field">
        Before and after a release at{' '}
        <input type="datetime-local" step="1" max={local(now)} value={release === null ? '' : local(release)} onChange={(e) => go({ ...none, release: Number.isFinite(fromLocal(e.currentTarget.value)) ? iso(fromLocal(e.currentTarget.value)) : undefined })} />
      </label>
    </>
  );
}

// Per is the divisor, in PromQL: the server says what is wrong with it.
function Per({ value, go }: { value: string; go: Go }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  return (
    <form
      class="compare-field per"
      onSubmit={(e) => {
        e.preventDefault();
        go({ per: text.trim() || undefined });
      }}
    >
      <label>
        Per request: requests a second, by PromQL <input type="text" spellcheck={false} value={text} placeholder='sum(rate(http_requests_total{service="shop"}[$window]))' onInput={(e) => setText(e.currentTarget.value)} />
      </label>
      <button type="submit">Apply</button>
    </form>
  );
}

interface ResultProps {
  mode: 'periods' | 'owners';
  a: Side;
  b: Side;
  release: number | null;
  per: string;
  data: { value: { id: string; sides: Facts[] } | undefined; error: ApiError | undefined; loading: boolean };
}

// leastCovered is the part of a period that has to be known for intervals of what adds up over it.
const leastCovered = 0.9;

interface LineOf {
  name: string;
  a: number | null;
  b: number | null;
  format: (v: number) => string;
  d?: Difference | undefined;
}

// of writes a difference with its interval, or without where there is none.
function of(l: LineOf): { change: string; interval: string } {
  if (l.a === null || l.b === null) return { change: '–', interval: '–' };
  if (!l.d) return { change: changeOf(l.b, l.a)?.text ?? '–', interval: '–' };
  const change = l.a > 0 ? signed(l.b - l.a, percents({ value: l.b / l.a - 1, half: l.d.relative?.half ?? 0 }).value) : '–';
  if (l.d.verdict === 'few') return { change, interval: 'too few samples' };
  return { change, interval: l.d.relative ? `± ${percents(l.d.relative).half}` : l.d.absolute ? `± ${l.format(l.d.absolute.half)}` : '–' };
}

function Result({ mode, a, b, release, per, data }: ResultProps) {
  const sides = data.value?.sides;
  const [fa, fb] = sides ?? [];
  const result = useMemo(() => {
    if (!fa || !fb) return null;
    const later = b.range.start - a.range.start;
    // Two owners at one time, or the same hours of two days, belong together.
    const pairs = mode === 'owners' || (Math.abs(a.range.seconds - b.range.seconds) < 1 && later > 0 && Math.round(later) % 86400 === 0) ? later : null;
    const power = differ(fa.sum, fb.sum, pairs, a.range.step);
    const each = per ? differ(perEvent(fa), perEvent(fb), pairs, a.range.step) : null;
    const d = each ?? power;
    const same = fa.meters.size > 0 && [...fa.meters].every((x) => fb.meters.has(x)) && fa.meters.size === fb.meters.size;
    const seconds = (f: Facts) => f.sum.length * a.range.step;
    const mean = (f: Facts) => (f.sum.length ? values(f.sum).reduce((x, y) => x + y, 0) / f.sum.length : null);
    const known1 = (v: number): number | null => (Number.isFinite(v) ? v : null);
    const covered = [seconds(fa) / a.range.seconds, seconds(fb) / b.range.seconds];
    // What a rate comes to over the whole period, where nearly all parts of it are known.
    const total = (x: Point[] | undefined, y: Point[] | undefined, unit: number): Difference | undefined => {
      const there = (p: Point[] | undefined, r: Range) => ((p?.length ?? 0) * r.step) / r.seconds >= leastCovered;
      if (!there(x, a.range) || !there(y, b.range)) return undefined;
      const over = (p: Point[], r: Range): Point[] => across(values(p), r.seconds / unit).map((v, i): Point => [p[i]![0], v]);
      return differ(over(x!, a.range), over(y!, b.range), pairs, a.range.step);
    };
    const lines: LineOf[] = [
      ...(each ? [{ name: 'Energy per request', a: known1(each.a), b: known1(each.b), format: (v: number) => scaled(v, 'J'), d: each }] : []),
      { name: 'Mean power', a: mean(fa), b: mean(fb), format: watts, d: power },
      ...[...new Set([...fa.power.keys(), ...fb.power.keys()])]
        .map((component) => ({ component }))
        .sort(byComponent)
        .map(({ component }) => {
          const dc = differ(fa.power.get(component), fb.power.get(component), pairs, a.range.step);
          return { name: `${component}`, a: known1(dc.a), b: known1(dc.b), format: watts, d: dc };
        }),
      { name: 'Energy', a: add(fa.joules.values()), b: add(fb.joules.values()), format: energy, d: total(fa.sum, fb.sum, 1) },
      ...(fa.grams !== null || fb.grams !== null ? [{ name: 'CO₂e', a: fa.grams, b: fb.grams, format: mass, d: total(fa.gramsEach, fb.gramsEach, 3600) }] : []),
      ...[...new Set([...fa.cost.keys(), ...fb.cost.keys()])].map((c) => ({ name: 'Cost', a: fa.cost.get(c) ?? null, b: fb.cost.get(c) ?? null, format: (v: number) => money(v, c), d: total(fa.costEach.get(c), fb.costEach.get(c), 3600) })),
    ];
    return { d, same, lines, pairs: pairs !== null, wide: banded(d, fa.band, fb.band), covered };
  }, [sides]);
  const lines = useMemo<Line[]>(() => {
    if (!fa || !fb) return [];
    const shift = b.range.start - a.range.start;
    return [{ name: a.name, points: shifted(fa.sum, shift, b.range.step), color: '--c8', dashed: true }, { name: b.name, points: fb.sum, color: '--c1' }];
  }, [sides]);
  const sameLength = Math.abs(a.range.seconds - b.range.seconds) < 1;
  const what = per ? 'energy per request' : sameLength ? 'energy' : 'power';
  const words =
    mode === 'owners'
      ? { when: '', subject: nameOf(b.who), what: `${what} than ${nameOf(a.who)}` }
      : { when: release !== null ? `After ${clock(release, b.range.seconds < 43200 ? 86400 : 2 * 86400)}` : 'In the second period', subject: nameOf(b.who), what };
  const estimated = (fa?.estimated ?? false) || (fb?.estimated ?? false);
  const nothing = fa && fb && fa.sum.length === 0 && fb.sum.length === 0;
  const factor = (x: number): string => signed(x - 1, `${Math.abs((x - 1) * 100).toFixed(0)} %`);
  const text = (x: LineOf, v: number | null) => <Figure value={v} format={x.format} estimated={estimated} />;
  return (
    <>
      <Panel
        title="Difference"
        name="compare"
        error={data.error}
        loading={data.loading}
        table={result ? () => ({ columns: ['figure', a.name, b.name, 'relative', 'half_width_95', 'verdict'], rows: result.lines.map((x) => [x.name, x.a, x.b, x.a && x.b !== null ? x.b / x.a - 1 : null, x.d?.relative?.half ?? null, x.d?.verdict ?? null]) }) : undefined}
      >
        {nothing ? (
          <Empty>Neither has any data: {spanOf(a.range)} and {spanOf(b.range)}. Choose times that the history holds.</Empty>
        ) : (
          result &&
          fa &&
          fb && (
            <>
              <p class={`verdict ${result.d.verdict}`} role="status">{sentence(result.d, words)}</p>
              {result.d.verdict === 'few' && <p class="note">Each side needs about 20 parts of {formatDuration(a.range.step)} that do not just hang together: take longer periods{per ? ', and a divisor that has data in both' : ''}.</p>}
              <div class="scroll" tabIndex={0} role="group" aria-label="Table, which may be wider than the screen">
                <table class="compare-table">
                  <thead>
                    <tr>
                      <td />
                      <th scope="col" class="n">
                        {a.name}
                        <span class="when">{spanOf(a.range)}</span>
                      </th>
                      <th scope="col" class="n">
                        {b.name}
                        <span class="when">{spanOf(b.range)}</span>
                      </th>
                      <th scope="col" class="n">Difference</th>
                      <th scope="col" class="n">95 % interval</th>
                    </tr>
                  </thead>
                  <tbody>
                    {result.lines.map((x, i) => {
                      const { change, interval } = of(x);
                      return (
                        <tr key={`${x.name}${i}`} class={fa.power.has(x.name) || fb.power.has(x.name) ? 'part' : ''}>
                          <th scope="row">{x.name}</th>
                          <td class="n">{text(x, x.a)}</td>
                          <td class="n">{text(x, x.b)}</td>
                          <td class={`n ${x.d?.verdict ?? ''}`}>{change}</td>
                          <td class="n">{interval}</td>
                        </tr>
                      );
                    })}
                  </tbody>
                </table>
              </div>
              <ul class="note reasons">
                {result.covered.some((c) => c < leastCovered) && (
                  <li>
                    There are data for {Math.round(Math.min(1, result.covered[0]!) * 100)} % of the first and {Math.round(Math.min(1, result.covered[1]!) * 100)} % of the second: energy, CO₂e and cost are of that only, and have no interval.
                  </li>
                )}
                <li>The interval is of chance: it is made of means of blocks of {formatDuration(a.range.step)} parts, and says how far the difference could be off because power, the grid and the price go up and down by themselves. {result.pairs && `Parts at the same time${mode === 'owners' ? '' : ' of the day'} are compared with each other, so that what both have in common is not in it. `}It does not know what else changed.</li>
                {estimated &&
                  (result.same ? (
                    <li>
                      The watts themselves are estimated ({factor(fb.band.low)} to {factor(fb.band.high)}). Both sides rest on the same machines and the same kind of meter, so most of that cancels in the relative difference, and it is not in the interval.
                    </li>
                  ) : (
                    <li>
                      The two rest on other machines or meters ({factor(fa.band.low)} to {factor(fa.band.high)}, and {factor(fb.band.low)} to {factor(fb.band.high)}), so the estimates do not cancel.
                      {result.wide && ` With them the difference lies between ${factor(1 + result.wide.low)} and ${factor(1 + result.wide.high)}${result.wide.verdict === 'none' ? ': no difference can be told' : ''}.`}
                    </li>
                  ))}
                {!estimated && !result.same && fa.meters.size > 0 && fb.meters.size > 0 && <li>The two were not measured by the same meters; how these are off from each other is not known.</li>}
              </ul>
            </>
          )
        )}
      </Panel>
      {!nothing && (
        <Panel title="Power" name="compare-power" loading={data.loading} note={mode === 'periods' ? 'Both begin at the left; the times are those of the second.' : undefined} table={fa && fb ? () => ({ columns: ['side', 'time', 'watts'], rows: [[a.name, fa], [b.name, fb]].flatMap(([n, f]) => (f as Facts).sum.map(([t, v]) => [n as string, new Date(t * 1000).toISOString(), v])) }) : undefined}>
          <Chart label="Power of both over time" lines={lines} start={b.range.start} end={b.range.start + Math.max(a.range.seconds, b.range.seconds)} step={b.range.step} format={watts} />
        </Panel>
      )}
    </>
  );
}
