import { useCallback, useMemo } from 'preact/hooks';
import { scopeKey, useShared, type Shared } from '../context';
import { json, query, queryRange } from '../lib/api';
import { useData } from '../lib/data';
import type { Table } from '../lib/download';
import { about, clock, energy, mass, money, number, percent, share as shareText, watts } from '../lib/format';
import { total as totalNow, type Snapshot } from '../lib/now';
import { kinds } from '../lib/owners';
import { addUp, bandLines, byDay, bySide, comparable, coverage, energyOf, midnight, net, payers, powerLines, remainder, top, topOfSnapshot, type Coverage, type Owner, type Total } from '../lib/overview';
import { grid, node, oneOf, owners, site } from '../lib/queries';
import { before, type Range } from '../lib/range';
import { common, href } from '../lib/route';
import { zoomed } from '../lib/time';
import type { Point } from '../lib/types';
import { Bar } from '../parts/Bar';
import { Chart, palette, type Line } from '../parts/Chart';
import { Days } from '../parts/Days';
import { equivalences, like } from '../parts/equivalences';
import { Figure } from '../parts/Figure';
import { Empty, Panel, Trouble } from '../parts/Panel';
import { Tile } from '../parts/Tile';
import './overview.css';

const listed = 10;
const drawn = 8;
const daysFrom = 3 * 86400;
const componentColors: Record<string, string> = { cpu: '--c1', memory: '--c2', gpu: '--c3', other: '--c4' };
const partOf = (idle: boolean): string => (idle ? 'idle' : 'dynamic');

// within is the scope with another range.
const within = (s: Shared, range: Range): Shared => ({ ...s, range });

export function Overview() {
  const s = useShared();
  if (s.info.source === 'none') return <Moment />;
  return <History />;
}

interface Totals {
  energy: Total;
  energyBefore: Total;
  grams: Map<string, number>;
  gramsBefore: Map<string, number>;
  gramsEstimated: boolean;
  cost: Map<string, number>;
  costBefore: Map<string, number>;
  covered: Coverage;
  coveredBefore: Coverage;
}

async function loadTotals(s: Shared, signal: AbortSignal): Promise<Totals> {
  const { range } = s;
  const past = within(s, before(range));
  const at = (expr: string) => query(expr, range.end, signal);
  const then = (expr: string) => query(expr, range.start, signal);
  // Whether anything is known is asked for stretch by stretch, of both ranges at once.
  const sample = range.long && s.info.long ? s.info.long.step_seconds : s.info.step_seconds;
  const stretch = Math.max(Math.ceil(range.seconds / 48), 2 * sample);
  const [joules, errors, grams, cost, credit, joulesBefore, errorsBefore, gramsBefore, costBefore, creditBefore, present, intensity, embodied] = await Promise.all([
    at(node.joules(s)),
    at(node.errorJoules(s)),
    at(node.grams(s)),
    at(node.cost(s)),
    at(node.credit(s)),
    then(node.joules(past)),
    then(node.errorJoules(past)),
    then(node.grams(past)),
    then(node.cost(past)),
    then(node.credit(past)),
    queryRange(node.present(s, stretch), range.start - range.seconds, range.end, stretch, signal),
    at(grid.now(s)),
    at(site.embodied(s)),
  ]);
  const points = present[0]?.points ?? [];
  const energy = energyOf(joules, errors);
  return {
    energy,
    energyBefore: energyOf(joulesBefore, errorsBefore),
    grams: bySide(grams, 'phase'),
    gramsBefore: bySide(gramsBefore, 'phase'),
    gramsEstimated: energy.estimated || [...intensity, ...embodied].some((x) => x.labels.estimated === 'true'),
    cost: net(cost, credit),
    costBefore: net(costBefore, creditBefore),
    covered: coverage(points, range.start, range.end, stretch),
    coveredBefore: coverage(points, range.start - range.seconds, range.start, stretch),
  };
}

const sum = (m: Map<string, number>): number | null => (m.size ? [...m.values()].reduce((a, b) => a + b, 0) : null);

function History() {
  const s = useShared();
  const { range } = s;
  const totals = useData(`totals ${scopeKey(s)}`, (signal) => loadTotals(s, signal));
  const t = totals.value;
  const partial = t && t.energy.value !== null && t.covered.share < 0.9;
  return (
    <>
      {totals.error && <Trouble error={totals.error} />}
      <Tiles totals={t} />
      {partial && (
        <p class="note partial">
          {t.covered.first === null
            ? 'Only the newest part of this range is known: its figures are of that.'
            : t.covered.first - range.start > range.seconds / 24
            ? `The history of this range begins at ${clock(t.covered.first, 2 * 86400)}: its figures are of the time since then.`
            : `Something is known of ${percent(Math.round(t.covered.share * 100) / 100)} of this range: its figures are of that.`}
        </p>
      )}
      <div class="columns even">
        <div class="column">
          <Power />
          {range.seconds >= daysFrom && <ByDay estimated={t?.energy.estimated ?? false} />}
          <Like joules={t?.energy.value ?? null} grams={t ? sum(t.grams) : null} estimated={t?.energy.estimated ?? false} />
        </div>
        <Top totals={t} />
      </div>
    </>
  );
}

// eachOf lists the components of now, if there are several.
const eachOf = (s: Shared): string | undefined =>
  s.now && s.now.components.length > 1 ? s.now.components.map((c) => `${c.component} ${about(watts((c.dynamic ?? 0) + (c.idle ?? 0)), c.qualities.includes('estimated'))}`).join(' · ') : undefined;

function Tiles({ totals: t }: { totals: Totals | undefined }) {
  const s = useShared();
  const { range } = s;
  const now = totalNow(s.now);
  const why = t ? comparable(t.covered, t.coveredBefore) : undefined;
  const meanBefore = t && t.energyBefore.value !== null && t.coveredBefore.share > 0.9 ? t.energyBefore.value / range.seconds : null;
  const mean = t && t.energy.value !== null && t.covered.share > 0.9 ? t.energy.value / range.seconds : null;
  const grams = t ? sum(t.grams) : null;
  const nothing = t !== undefined && t.energy.value === null;
  // The power of now needs nothing of the range to be compared with the mean before it.
  const noNow = meanBefore === null ? why : null;
  return (
    <div class="stats">
      {range.live ? (
        <Tile title="Power now" value={now.value} before={meanBefore} than="the mean before" why={noNow} note={eachOf(s)}>
          <Figure value={now.value} format={watts} estimated={now.estimated} low={now.low} high={now.high} exact={(v) => `${v} W`} />
        </Tile>
      ) : (
        <Tile title="Mean power" value={mean} before={meanBefore} why={why}>
          <Figure value={mean} format={watts} estimated={t?.energy.estimated ?? false} exact={(v) => `${v} W`} />
        </Tile>
      )}
      <Tile title="Energy" value={t?.energy.value} before={t?.energyBefore.value} why={why} note={nothing ? 'Nothing was counted in this range.' : undefined}>
        <Figure value={t?.energy.value} format={energy} estimated={t?.energy.estimated ?? false} low={t?.energy.low} high={t?.energy.high} exact={(v) => `${v} J`} />
      </Tile>
      <Tile
        title="CO2e"
        value={grams}
        before={t ? sum(t.gramsBefore) : null}
        why={grams === null ? null : why}
        note={
          t && grams === null && !nothing ? (
            <>
              Nobody knows the grid: set <code>--grid.zone</code>, see <a href={href('carbon', common(s.route.params))}>Carbon</a>.
            </>
          ) : (
            t && grams !== null && `operational ${t.grams.has('operational') ? mass(t.grams.get('operational')!) : '–'} · embodied ${t.grams.has('embodied') ? mass(t.grams.get('embodied')!) : '–'}`
          )
        }
      >
        <Figure value={grams} format={mass} estimated={t?.gramsEstimated ?? false} exact={(v) => `${v} g`} />
      </Tile>
      {t && t.cost.size > 0 ? (
        [...t.cost].map(([currency, value]) => (
          <Tile key={currency} title={t.cost.size > 1 ? `Cost, ${currency}` : 'Cost'} value={value} before={t.costBefore.get(currency)} why={why}>
            <Figure value={value} format={(v) => money(v, currency)} estimated={t.energy.estimated} exact={(v) => `${v} ${currency}`} />
          </Tile>
        ))
      ) : (
        <Tile
          title="Cost"
          note={
            t &&
            !nothing && (
              <>
                No price is known: set <code>--price.per-kwh</code>.
              </>
            )
          }
        >
          <Figure value={null} format={String} />
        </Tile>
      )}
    </div>
  );
}

function timeTable(names: string[], lines: Point[][]): Table {
  const times = [...new Set(lines.flatMap((l) => l.map(([t]) => t)))].sort((a, b) => a - b);
  const maps = lines.map((l) => new Map(l));
  return { columns: ['time', ...names], rows: times.map((t) => [new Date(t * 1000).toISOString(), ...maps.map((m) => m.get(t) ?? null)]) };
}

function Power() {
  const s = useShared();
  const { range } = s;
  const power = useData(`power ${scopeKey(s)}`, async (signal) => {
    const [parts, errors] = await Promise.all([queryRange(node.historyParts(s), range.start, range.end, range.step, signal), queryRange(node.errorHistory(s), range.start, range.end, range.step, signal)]);
    return { range, lines: powerLines(parts), band: bandLines(parts, errors) };
  });
  const v = power.value;
  const lines = useMemo<Line[]>(() => (v?.lines ?? []).map((l) => ({ name: `${l.component} ${partOf(l.idle)}`, points: l.points, color: componentColors[l.component] ?? '--c8', faint: l.idle })), [v]);
  const band = useMemo(() => (v?.band ? { name: 'plausibly', ...v.band } : undefined), [v]);
  const select = useCallback((a: number, b: number) => s.setSpan(zoomed(a, b)), [s.route]);
  const shown = v?.range ?? range;
  return (
    <Panel
      title="Power by component"
      name="power"
      error={power.error}
      loading={power.loading}
      table={v && lines.length ? () => timeTable([...lines.map((l) => `${l.name}, W`), ...(v.band ? ['low, W', 'high, W'] : [])], [...lines.map((l) => l.points), ...(v.band ? [v.band.low, v.band.high] : [])]) : undefined}
      note={lines.length > 0 && (band ? 'Hatched is idle; between the dotted lines lies what the power plausibly is.' : lines.some((l) => l.faint) ? 'Hatched is idle.' : undefined)}
    >
      {v && lines.length === 0 ? (
        <Empty>Nothing was measured in this range. Choose another, or look at Health for what the sensors say.</Empty>
      ) : (
        <Chart label="Power by component over time" lines={lines} band={band} start={shown.start} end={shown.end} step={shown.step} stacked format={watts} height={240} onSelect={select} />
      )}
    </Panel>
  );
}

const detail = (s: Shared, o: Owner): string => href('detail', { ...common(s.route.params), kind: o.kind, ...o.labels });

function Top({ totals }: { totals: Totals | undefined }) {
  const s = useShared();
  const { range } = s;
  const data = useData(`top ${scopeKey(s)}`, async (signal) => {
    const answers = await Promise.all(payers.map((p) => query(owners.joules(s, p.kind, [], ...p.where), range.end, signal)));
    const list = top(answers, listed);
    const some = list.slice(0, drawn);
    // The few with most are asked for by name, so that few series are read.
    const asked = payers.map((p) => ({ p, names: [...new Set(some.filter((o) => o.kind === p.kind).map((o) => o.labels[p.label] ?? ''))] })).filter((a) => a.names.length > 0);
    const [whole, ...found] = await Promise.all([
      queryRange(node.history(s), range.start, range.end, range.step, signal),
      ...asked.map((a) => queryRange(owners.history(s, a.p.kind, [], ...a.p.where, oneOf(a.p.label, a.names)), range.start, range.end, range.step, signal)),
    ]);
    const points = new Map<string, Point[]>();
    asked.forEach((a, i) => found[i]!.forEach((x) => points.set(`${a.p.kind}\u0000${kinds[a.p.kind].labels.map((n) => x.labels[n] ?? '').join('\u0000')}`, x.points)));
    const lines = some.map((o) => points.get(o.key) ?? []);
    return { range, list, lines, others: remainder(addUp(whole!.map((x) => x.points)), lines) };
  });
  const v = data.value;
  const lines = useMemo<Line[]>(() => {
    if (!v || v.list.length === 0) return [];
    return [...v.list.slice(0, drawn).map((o, i) => ({ name: o.name, points: v.lines[i]!, color: palette[i]!, faint: o.kind === 'system' && /^(idle|unreserved)$/.test(o.labels.account ?? '') })), { name: 'everything else', points: v.others, color: '--idle' }];
  }, [v]);
  const select = useCallback((a: number, b: number) => s.setSpan(zoomed(a, b)), [s.route]);
  const whole = totals?.energy.value ?? null;
  const estimated = totals?.energy.estimated ?? false;
  // Counters of two resolutions differ a little at the edges of a range.
  const left = v && whole !== null ? whole - v.list.reduce((a, o) => a + o.value, 0) : null;
  const rest = left !== null && whole !== null && left < whole * 5e-4 && left > -whole * 5e-3 ? 0 : left;
  const share = (joules: number): number | null => (whole ? joules / whole : null);
  const shown = v?.range ?? range;
  return (
    <Panel
      title="Power by who used it"
      name="top"
      error={data.error}
      loading={data.loading}
      actions={
        <a href={href('workloads', common(s.route.params))} class="more">
          all of them
        </a>
      }
      table={
        v && v.list.length
          ? () => ({
              columns: ['kind', 'name', 'joules', 'share'],
              rows: [...v.list.map((o) => [o.kind, o.name, o.value, share(o.value)]), ['', 'everything else', rest, rest === null ? null : share(rest)]],
            })
          : undefined
      }
    >
      {v && v.list.length === 0 ? (
        <Empty>Nobody used energy that was counted in this range.</Empty>
      ) : (
        <>
          <Chart label="Power by who used it, over time" lines={lines} start={shown.start} end={shown.end} step={shown.step} stacked format={watts} height={240} onSelect={select} />
          <div class="scroll">
            <table class="top-list">
              <thead>
                <tr>
                  <th scope="col">Who</th>
                  <th scope="col">Kind</th>
                  <th scope="col" class="n">
                    Energy
                  </th>
                  <th scope="col" class="n">
                    Share
                  </th>
                  <th aria-hidden="true" />
                </tr>
              </thead>
              <tbody>
                {v?.list.map((o, i) => (
                  <tr key={o.key}>
                    <td class="who">
                      <a href={detail(s, o)}>{o.name}</a>
                      {o.labels.namespace && <span class="where"> {o.labels.namespace}</span>}
                    </td>
                    <td class="kind">{o.kind}</td>
                    <td class="n">
                      <Figure value={o.value} format={energy} estimated={estimated} exact={(j) => `${j} J`} />
                    </td>
                    <td class="n">
                      <Figure value={share(o.value)} format={shareText} />
                    </td>
                    <td class="bar-cell">
                      <Bar share={share(o.value)} estimated={estimated} color={i < drawn ? `var(${palette[i]!})` : 'var(--idle)'} />
                    </td>
                  </tr>
                ))}
                {rest !== null && whole !== null && (
                  <tr class="rest">
                    <td class="who">everything else</td>
                    <td class="kind" />
                    <td class="n">
                      <Figure value={rest} format={energy} estimated={estimated} exact={(j) => `${j} J`} />
                    </td>
                    <td class="n">
                      <Figure value={share(rest)} format={shareText} />
                    </td>
                    <td class="bar-cell">
                      <Bar share={share(rest)} estimated={estimated} color="var(--idle)" />
                    </td>
                  </tr>
                )}
              </tbody>
            </table>
          </div>
          {rest !== null && whole !== null && rest < -whole * 5e-3 && <p class="note">The parts are more than the whole by {percent(-rest / whole)}: counters that began or ended inside the range are extrapolated to its edges.</p>}
        </>
      )}
    </Panel>
  );
}

function ByDay({ estimated }: { estimated: boolean }) {
  const s = useShared();
  const { range } = s;
  const from = midnight(range.start);
  // The day that is under way moves on by hours, not by each refresh.
  const end = Math.floor(range.end / 3600) * 3600;
  // Whole hours of the range only: each point is of the hour that ends at it.
  const first = Math.ceil(range.start / 3600) * 3600 + 3600;
  const data = useData(`days ${from}/${end}/${range.seconds}/${s.node}/${s.round}`, (signal) => queryRange(node.joulesEach(s, 3600), first, end, 3600, signal));
  const days = useMemo(() => byDay(data.value?.[0]?.points ?? [], range.start, range.end), [data.value]);
  return (
    <Panel
      title="Energy by day"
      name="days"
      error={data.error}
      loading={data.loading}
      table={days.length ? () => ({ columns: ['day', 'joules', 'hours known', 'whole day'], rows: days.map((d) => [new Date(d.start * 1000).toLocaleDateString('sv'), d.value, d.hours, d.whole ? 'yes' : 'no']) }) : undefined}
      note={days.some((d) => !d.whole || d.hours < 23) ? 'Hatched: a part of the day. Days are of the time zone of this browser.' : undefined}
    >
      {data.value && days.length === 0 ? <Empty>No hour of this range is known.</Empty> : <Days days={days.map((d) => ({ ...d, whole: d.whole && d.hours >= 23 }))} format={(j) => about(energy(j), estimated)} />}
    </Panel>
  );
}

function Like({ joules, grams, estimated }: { joules: number | null; grams: number | null; estimated: boolean }) {
  const all = equivalences.map((e) => ({ e, n: like(e, { joules, grams }) })).filter((x) => x.n !== null);
  if (all.length === 0) return null;
  return (
    <Panel title="That is like" name="like" table={() => ({ columns: ['number', 'of', 'by', 'source', 'year'], rows: all.map(({ e, n }) => [n, e.unit, e.what, e.source, e.year]) })}>
      <ul class="like">
        {all.map(({ e, n }) => (
          <li key={e.unit}>
            <Figure value={n} format={(v) => number(v, 2)} estimated={estimated} /> {e.unit}
            <details>
              <summary>source</summary>
              {e.what} {e.source}, {e.year}.
            </details>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

// Moment is the overview where nobody keeps a history: the newest snapshot.
function Moment() {
  const s = useShared();
  const data = useData(`moment ${scopeKey(s)}`, (signal) => (s.info.snapshot ? json<Snapshot>('api/noether/v1/snapshot', signal) : Promise.resolve(null)));
  const now = totalNow(s.now);
  const list = useMemo(() => (data.value ? topOfSnapshot(data.value, listed) : []), [data.value]);
  const rest = now.value === null ? null : now.value - list.reduce((a, o) => a + o.value, 0);
  return (
    <>
      <div class="stats">
        <Tile title="Power now" note={eachOf(s)}>
          <Figure value={now.value} format={watts} estimated={now.estimated} low={now.low} high={now.high} exact={(v) => `${v} W`} />
        </Tile>
      </div>
      <Panel
        title="Power by who uses it, now"
        name="top"
        error={data.error}
        loading={data.loading}
        table={list.length ? () => ({ columns: ['kind', 'name', 'watts'], rows: [...list.map((o) => [o.kind, o.name, o.value]), ['', 'everything else', rest]] }) : undefined}
      >
        {list.length === 0 ? (
          <Empty>{s.info.snapshot ? 'The first tick is not complete.' : 'This server measures nothing and reads no history: see the reason above.'}</Empty>
        ) : (
          <table class="top-list">
            <thead>
              <tr>
                <th scope="col">Who</th>
                <th scope="col">Kind</th>
                <th scope="col" class="n">
                  Power
                </th>
                <th aria-hidden="true" />
              </tr>
            </thead>
            <tbody>
              {list.map((o) => (
                <tr key={o.key}>
                  <td class="who">{o.name}</td>
                  <td class="kind">{o.kind}</td>
                  <td class="n">
                    <Figure value={o.value} format={watts} estimated={now.estimated} />
                  </td>
                  <td class="bar-cell">
                    <Bar share={now.value ? o.value / now.value : null} estimated={now.estimated} />
                  </td>
                </tr>
              ))}
              {rest !== null && now.value !== null && (
                <tr class="rest">
                  <td class="who">everything else</td>
                  <td />
                  <td class="n">
                    <Figure value={Math.abs(rest) < now.value * 5e-4 ? 0 : rest} format={watts} estimated={now.estimated} />
                  </td>
                  <td class="bar-cell" />
                </tr>
              )}
            </tbody>
          </table>
        )}
      </Panel>
    </>
  );
}
