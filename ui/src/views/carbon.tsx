import './carbon.css';
import { useMemo, useState } from 'preact/hooks';
import { scopeKey, useShared, type Shared } from '../context';
import { ApiError, json, query, queryRange } from '../lib/api';
import { findBest, type Best } from '../lib/best';
import { flat, fromFamilies, parseAnswer, pastOf, zonesOf, type Outlook } from '../lib/bestforecast';
import { useData } from '../lib/data';
import type { Table } from '../lib/download';
import { scale, type FlowNode, type Owned } from '../lib/flow';
import { about, clock, energy, intensity, mass, number, percent, share } from '../lib/format';
import { grid, node, owners, exactly, site } from '../lib/queries';
import { formatDuration, parseDuration } from '../lib/range';
import { common, navigate } from '../lib/route';
import { detailHref } from '../lib/rows';
import { fromLocal, local } from '../lib/time';
import type { Point, Series } from '../lib/types';
import { Bar } from '../parts/Bar';
import { Chart, type Line } from '../parts/Chart';
import { Figure } from '../parts/Figure';
import { Empty, Panel } from '../parts/Panel';
import { IntensityChart } from './carbonchart';
import { loadFlows, type Flows } from './flowdata';

const hour = 3600;

// Grid is everything that is known of the grids by now.
interface Grid {
  at: number; // the present, by the server's clock
  zones: string[];
  zone: string;
  outlook: Outlook | null;
  trouble: string; // why the agent's own forecast could not be had
  silent: string[]; // sources whose last answer was none
  unknown: number; // joules of the range without grams
  embodied: { grams: number; rate: number | null; source: string; estimated: boolean } | null;
  grams: boolean; // the range has any
}

const sumOf = (x: Series[]): number => x.reduce((a, s) => a + (s.points[0]?.[1] ?? 0), 0);

async function loadGrid(s: Shared, zone: string, signal: AbortSignal): Promise<Grid> {
  const at = s.range.live ? s.range.end : Math.floor(s.now?.time ?? Date.now() / 1000);
  const soft = (text: string, time: number): Promise<Series[]> => query(text, time, signal).catch(() => []);
  let trouble = '';
  const own = s.info.forecast
    ? json<unknown>('api/noether/v1/forecast', signal).then(parseAnswer, (e: unknown) => {
        // 404 is how an agent says that nobody knows the grid.
        if (!(e instanceof ApiError && e.status === 404)) trouble = e instanceof Error ? e.message : String(e);
        return null;
      })
    : Promise.resolve(null);
  const history = s.info.source !== 'none';
  const ask = (text: string, time: number): Promise<Series[]> => (history ? soft(text, time) : Promise.resolve([]));
  const [answer, now, updated, ahead, sources, unknown, made, rate, grams] = await Promise.all([
    own,
    history ? query(grid.history(s), at, signal) : Promise.resolve([]),
    ask(site.updated(s), at),
    ask(grid.forecast(s), at),
    ask(site.sources(s), at),
    ask(site.unknown(s), s.range.end),
    ask(site.embodied(s), at),
    ask(site.embodiedRate(s), at),
    ask(node.grams(s), s.range.end),
  ]);
  signal.throwIfAborted();
  const zones = [...new Set([...zonesOf(now), ...(answer ? [answer.zone] : [])])].sort();
  const chosen = zones.includes(zone) ? zone : (answer?.zone ?? zones[0] ?? '');
  const families = chosen ? fromFamilies(chosen, at, now, updated, ahead) : null;
  return {
    at,
    zones,
    zone: chosen,
    outlook: answer && answer.zone === chosen && (answer.now || answer.forecast.length > 0 || !families) ? answer : families,
    trouble,
    silent: sources.filter((x) => x.points[0]![1] === 0).map((x) => x.labels.source ?? ''),
    unknown: sumOf(unknown),
    embodied: made.length > 0 ? { grams: sumOf(made), rate: rate.length > 0 ? sumOf(rate) : null, source: [...new Set(made.map((x) => x.labels.source ?? ''))].join(', '), estimated: made.some((x) => x.labels.estimated === 'true') } : null,
    grams: grams.length > 0,
  };
}

export function Carbon() {
  const s = useShared();
  const { params } = s.route;
  const go = (to: Record<string, string | undefined>, replace = false) => navigate('carbon', { ...params, ...to }, replace);
  const known = useData(`grid ${scopeKey(s)}/${params.zone ?? ''}/${s.info.source}`, (signal) => loadGrid(s, params.zone ?? '', signal));
  const past = useData(s.info.source === 'none' ? '' : `grid history ${scopeKey(s)}`, (signal) => (s.info.source === 'none' ? Promise.resolve([]) : queryRange(grid.history(s), s.range.start, s.range.end, s.range.step, signal)));
  const g = known.value;
  // A grid that nobody knows any more may still have been known in the range.
  const zone = g?.zone || zonesOf(past.value ?? [])[0] || '';
  const stretches = useMemo(() => (past.value ? pastOf(zone, past.value, s.range.step) : []), [zone, past.value, s.range.step]);
  const nothing = g !== undefined && !g.outlook && !g.grams && stretches.length === 0 && !past.loading;
  return (
    <>
      <Now known={known} zone={zone} stretches={stretches} past={past} go={go} />
      {g?.outlook && <BestTime g={g} params={params} go={go} stretches={stretches} />}
      {g && (g.grams || g.outlook) && s.info.source !== 'none' && <Emitted params={params} go={go} unknown={g.unknown} />}
      {nothing && <Configure />}
    </>
  );
}

// Configure says exactly what to set.
function Configure() {
  return (
    <Panel title="How to see grams here" name="carbon-setup">
      <p>Joules become grams of CO2e when the agent knows which grid the electricity comes from, or what making the machine emitted. Neither is known in this range.</p>
      <dl class="carbon-setup">
        <dt>
          <code>noether agent --grid.zone DE</code>
        </dt>
        <dd>the yearly average of a country, built in: no request leaves the machine. A cloud region works too: aws:eu-central-1</dd>
        <dt>
          <code>noether agent --grid.zone DE --grid.provider energy-charts</code>
        </dt>
        <dd>by the hour, with a forecast and so a best time to run something. Others: electricitymaps, entsoe, neso, rte, a table in a file (file:PATH), a number (fixed:GRAMS)</dd>
        <dt>
          <code>noether agent --embodied.kg 1200 --embodied.years 4</code>
        </dt>
        <dd>what making the machine emitted, spread over the years of its use; auto adds up the parts that the kernel shows</dd>
        <dt>
          <code>noether check --grid.zone DE</code>
        </dt>
        <dd>says what works here, and what is missing, before you decide</dd>
      </dl>
      <p class="note">In a cluster: carbon.zone in the values of the chart. The documents docs/co2e.md, docs/carbon.md and docs/embodied.md of the project tell all of it.</p>
    </Panel>
  );
}

const ageText = (seconds: number): string => (seconds < 90 ? 'just now' : `${formatDuration(Math.round(seconds / 60) * 60)} ago`);

type Go = (to: Record<string, string | undefined>, replace?: boolean) => void;

function Now({ known, zone, stretches, past, go }: { known: { value: Grid | undefined; error: ApiError | undefined; loading: boolean }; zone: string; stretches: ReturnType<typeof pastOf>; past: { error: ApiError | undefined; loading: boolean }; go: Go }) {
  const s = useShared();
  const g = known.value;
  const o = g?.outlook;
  if (g && !o && !g.embodied && stretches.length === 0) return g.trouble ? <Panel title="Carbon intensity" name="intensity"><Empty>The forecast could not be had: {g.trouble}</Empty></Panel> : null;
  const earlier = stretches.length > 0 ? stretches : (o?.past ?? []);
  const ahead = o && s.range.live ? o.forecast.filter((f) => f.to > g!.at) : [];
  const end = ahead.length > 0 ? ahead[ahead.length - 1]!.to : s.range.end;
  const mean = weighted(earlier.filter((x) => x.to > s.range.start && x.from < s.range.end));
  const yearly = o?.provider === 'yearly';
  const notes: string[] = [];
  if (yearly) notes.push('This is a yearly average: right for a year, wrong for an hour. For hours and a forecast choose a provider, for example --grid.provider energy-charts.');
  if (g?.silent.length) notes.push(`No answer from ${g.silent.join(', ')} at the last try: what is shown is the newest that is known.`);
  if (g?.trouble) notes.push(`The agent's own forecast could not be had: ${g.trouble}`);
  if (o?.signal === 'marginal') notes.push('Marginal intensity is of the plants that answer one more kilowatt-hour: it is for decisions, not for accounts.');
  return (
    <Panel
      title="Carbon intensity"
      name="intensity"
      error={known.error ?? past.error}
      loading={known.loading || past.loading}
      table={earlier.length + ahead.length > 0 ? () => ({ columns: ['from', 'to', 'grams_per_kwh', 'estimated', 'forecast'], rows: [...earlier.map((x) => [iso(x.from), iso(x.to), x.intensity, String(x.estimated), 'false']), ...ahead.map((x) => [iso(x.from), iso(x.to), x.intensity, String(x.estimated), 'true'])] }) : undefined}
      actions={
        g && g.zones.length > 1 ? (
          <label>
            <span class="sr">Grid zone</span>
            <select value={zone} onChange={(e) => go({ zone: e.currentTarget.value })}>
              {g.zones.map((z) => (
                <option key={z} value={z}>
                  {z}
                </option>
              ))}
            </select>
          </label>
        ) : undefined
      }
      note={notes.length ? notes.join(' ') : undefined}
    >
      <div class="carbon-now">
        <dl class="carbon-tiles">
          <div class="main">
            <dt>Now{zone ? ` in ${zone}` : ''}</dt>
            <dd class="big">
              <Figure value={o?.now?.intensity} format={intensity} estimated={o?.now?.estimated ?? false} />
            </dd>
            <dd class="sub">{o ? [`by ${o.provider || 'unknown'}`, o.signal, o.factor, o.now?.estimated ? 'estimated' : '', o.updated ? `fetched ${ageText(g!.at - o.updated)}` : ''].filter(Boolean).join(' · ') : zone ? 'not known at present' : 'nobody knows the grid: set --grid.zone'}</dd>
            {o?.now && mean && mean.intensity > 0 && Math.abs(o.now.intensity / mean.intensity - 1) > 0.005 && (
              <dd class="sub">
                {percent(Math.abs(o.now.intensity / mean.intensity - 1))} {o.now.intensity < mean.intensity ? 'below' : 'above'} the mean of the range
              </dd>
            )}
          </div>
          <div>
            <dt>Mean of the range</dt>
            <dd>
              <Figure value={mean?.intensity} format={intensity} estimated={mean?.estimated ?? false} />
            </dd>
            {mean && mean.max > mean.min && (
              <dd class="sub">
                {number(mean.min)} to {number(mean.max)}
              </dd>
            )}
          </div>
          {g?.embodied && (
            <div>
              <dt>Hardware</dt>
              <dd>
                <Figure value={g.embodied.grams} format={mass} estimated={g.embodied.estimated} />
              </dd>
              <dd class="sub">{[g.embodied.rate !== null ? `${about(mass(g.embodied.rate), g.embodied.estimated)} an hour` : '', g.embodied.source ? `by ${g.embodied.source}` : ''].filter(Boolean).join(' · ')}</dd>
            </div>
          )}
        </dl>
        {g && (earlier.length > 0 || ahead.length > 0) && (
          <IntensityChart label={`Carbon intensity in ${zone}${mean ? `, mean ${intensity(mean.intensity)}` : ''}${ahead.length ? ', with a forecast' : ''}`} past={earlier} forecast={ahead} start={s.range.start} end={end} now={g.at} />
        )}
      </div>
    </Panel>
  );
}

const iso = (t: number): string => new Date(t * 1000).toISOString();

function weighted(samples: { from: number; to: number; intensity: number; estimated: boolean }[]): { intensity: number; min: number; max: number; estimated: boolean } | null {
  let sum = 0;
  let time = 0;
  let min = Infinity;
  let max = -Infinity;
  for (const x of samples) {
    sum += x.intensity * (x.to - x.from);
    time += x.to - x.from;
    min = Math.min(min, x.intensity);
    max = Math.max(max, x.intensity);
  }
  return time > 0 ? { intensity: sum / time, min, max, estimated: samples.some((x) => x.estimated) } : null;
}

const lengths = ['15m', '30m', '1h', '2h', '3h', '4h', '6h', '8h', '12h', '24h'];
const withins = ['2h', '4h', '6h', '12h', '24h', '36h', '48h', '72h'];

// choices has what the URL says among what is offered.
const choices = (offered: string[], chosen: string): string[] => (offered.includes(chosen) ? offered : [...offered, chosen].sort((a, b) => parseDuration(a)! - parseDuration(b)!));

const bounded = (text: string | undefined, least: number, most: number, otherwise: string): string => {
  const n = parseDuration(text ?? '');
  return n !== null && n >= least && n <= most ? formatDuration(n).replace(/^1d$/, '24h').replace(/^(\d+)d(?:(\d+)h)?$/, (_, d: string, h?: string) => `${Number(d) * 24 + Number(h ?? 0)}h`) : otherwise;
};

function BestTime({ g, params, go, stretches }: { g: Grid; params: Record<string, string>; go: Go; stretches: ReturnType<typeof pastOf> }) {
  const o = g.outlook!;
  const length = bounded(params.duration, 900, 24 * hour, '2h');
  const within = bounded(params.within, 2 * hour, 72 * hour, '24h');
  const finish = params.finish ? Date.parse(params.finish) / 1000 : NaN;
  const kwh = Number(params.kwh ?? '1');
  const seconds = parseDuration(length)!;
  const horizon = g.at + parseDuration(within)!;
  const to = Number.isFinite(finish) && finish > g.at ? Math.min(finish, horizon) : horizon;
  const best = useMemo(() => findBest(o.forecast, { from: g.at, to, length: seconds }), [o, g.at, to, seconds]);
  const ahead = o.forecast.filter((f) => f.to > g.at);
  const shown = Math.min(Math.max(to, g.at + hour), ahead[ahead.length - 1]?.to ?? to);

  if (ahead.length === 0) {
    return (
      <Panel title="Best time to run something" name="best">
        <Empty>
          {o.provider === 'yearly'
            ? 'Only the yearly average is known, which is the same at every hour: there is no best time. Choose a provider that looks ahead, for example --grid.provider energy-charts.'
            : `${o.provider || 'The provider'} says nothing of the hours to come, so nobody can tell the best time. These look ahead: electricitymaps, energy-charts, neso, watttime, and a table in a file.`}
        </Empty>
      </Panel>
    );
  }
  return (
    <Panel
      title="Best time to run something"
      name="best"
      table={best.best ? () => bestTable(best, kwh) : undefined}
      note={[
        best.until !== null && best.until < to - 60 ? `The forecast reaches until ${when(best.until, g.at)}: later times are not considered.` : '',
        o.coarse ? 'The forecast is known by whole hours from now.' : '',
        Number.isFinite(finish) && finish <= g.at ? 'The latest finish is over: it is ignored.' : '',
      ]
        .filter(Boolean)
        .join(' ') || undefined}
    >
      <div class="carbon-best">
        <form onSubmit={(e) => e.preventDefault()}>
          <label>
            <span>It runs for</span>
            <select value={length} onChange={(e) => go({ duration: e.currentTarget.value })}>
              {choices(lengths, length).map((d) => (
                <option key={d} value={d}>
                  {d}
                </option>
              ))}
            </select>
          </label>
          <label>
            <span>within</span>
            <select value={within} onChange={(e) => go({ within: e.currentTarget.value })}>
              {choices(withins, within).map((d) => (
                <option key={d} value={d}>
                  {d}
                </option>
              ))}
            </select>
          </label>
          <label>
            <span>finished by</span>
            <input
              type="datetime-local"
              value={Number.isFinite(finish) ? local(finish).slice(0, 16) : ''}
              onChange={(e) => {
                const t = fromLocal(e.currentTarget.value);
                go({ finish: Number.isFinite(t) ? iso(t) : undefined });
              }}
            />
          </label>
          <label>
            <span>and uses, kWh</span>
            <input type="number" min="0" step="any" inputMode="decimal" value={params.kwh ?? '1'} onInput={(e) => go({ kwh: e.currentTarget.value || undefined }, true)} />
          </label>
        </form>
        <div class="carbon-answer" aria-live="polite">
          <Answer best={best} at={g.at} kwh={kwh} length={length} forecast={ahead} forecaster={o.forecaster} />
        </div>
      </div>
      <IntensityChart
        label={best.best ? `Forecast, best from ${when(best.best.from, g.at)} to ${when(best.best.to, g.at)}` : 'Forecast'}
        past={stretches.length ? stretches : o.past}
        forecast={ahead}
        start={g.at - Math.min(3 * hour, (shown - g.at) / 8)}
        end={shown}
        now={g.at}
        shade={best.best ?? undefined}
        height={180}
      />
    </Panel>
  );
}

// when writes a time to come, with its day unless it is today's.
function when(t: number, now: number): string {
  const d = new Date(t * 1000);
  const time = clock(t, 86400);
  return d.toDateString() === new Date(now * 1000).toDateString() ? time : `${d.toLocaleDateString('en', { weekday: 'short', day: 'numeric', month: 'short' })} ${time}`;
}

function Answer({ best, at, kwh, length, forecast, forecaster }: { best: Best; at: number; kwh: number; length: string; forecast: Parameters<typeof flat>[0]; forecaster: string }) {
  const w = best.best;
  if (!w) return <p>{best.covered > 0 ? `The forecast knows no ${length} in a row before then.` : 'The forecast knows nothing of that time.'} Choose a shorter run, or a later finish.</p>;
  if (flat(forecast)) return <p>Every hour of the forecast by {forecaster} is alike: any time is as good as now.</p>;
  const saved = best.now ? best.now.mean - w.mean : null;
  const soon = w.from - at < 60;
  return (
    <>
      <p class="carbon-when">
        {soon ? 'Now' : when(w.from, at)} <span class="muted">to</span> {when(w.to, at)}
        {!soon && <span class="muted">, in {formatDuration(Math.round((w.from - at) / 60) * 60)}</span>}
      </p>
      <p>
        Mean {about(intensity(w.mean), w.estimated)}, forecast by {forecaster}.{' '}
        {best.now ? (
          soon || saved === null || saved <= 0 ? (
            'No later time is better than beginning now.'
          ) : (
            <>
              Beginning now: {about(intensity(best.now.mean), best.now.estimated)}. Waiting saves <strong>{percent(saved / best.now.mean)}</strong>
              {kwh > 0 && Number.isFinite(kwh) && (
                <>
                  , <strong>{mass(saved * kwh)}</strong> of CO2e for {number(kwh)} kWh
                </>
              )}
              .
            </>
          )
        ) : (
          'What beginning now would mean is not known: the forecast has a gap.'
        )}
      </p>
    </>
  );
}

function bestTable(best: Best, kwh: number): Table {
  return {
    columns: ['window', 'from', 'to', 'grams_per_kwh', 'estimated', 'grams'],
    rows: ([['best', best.best], ['now', best.now]] as const).flatMap(([name, w]) => (w ? [[name, iso(w.from), iso(w.to), w.mean, String(w.estimated), kwh > 0 ? w.mean * kwh : null]] : [])),
  };
}

interface Leaf {
  id: string;
  name: string;
  kind: string;
  place: FlowNode['place'];
  labels: FlowNode['labels'];
  amounts: number[];
  total: number;
}

// leavesOf is everybody of whom grams are told, each gram once.
function leavesOf(root: FlowNode): Leaf[] {
  const out: Leaf[] = [];
  const walk = (n: FlowNode, within: string) => {
    if (n.children.length > 0 && n.place !== 'workload' && n.place !== 'pod') for (const c of n.children) walk(c, n.place === 'all' ? '' : n.name);
    else {
      const l = n.labels ?? {};
      out.push({ id: n.id, name: n.name, place: n.place, labels: n.labels, kind: n.place === 'rest' ? (within ? `of ${within}` : '') : n.place === 'workload' ? `${l.workload_kind ?? ''} in ${l.namespace ?? ''}` : n.place === 'system' ? 'system account' : n.place, amounts: n.amounts, total: n.total });
    }
  };
  root.children.forEach((c) => walk(c, ''));
  return out.sort((a, b) => Number(a.place === 'rest') - Number(b.place === 'rest') || b.total - a.total);
}

interface Emission {
  flows: Flows;
  leaves: Leaf[];
  byOwner: Line[];
  byPhase: Line[];
}

const shownLines = 8;

async function loadEmission(s: Shared, signal: AbortSignal): Promise<Emission> {
  const { start, end, step } = s.range;
  const [flows, all] = await Promise.all([loadFlows(s, 'co2e', { pods: false, containers: false, namespace: '' }, signal), queryRange(node.gramsHistory(s), start, end, step, signal)]);
  const leaves = leavesOf(flows.tree.root);
  const largest = leaves.filter((l) => l.labels && l.total >= 0.001 * flows.tree.root.total).slice(0, shownLines);
  const histories = await Promise.all(largest.map((l) => queryRange(owners.gramsHistory(s, l.place as Owned, [], ...exactly(l.place as Owned, l.labels ?? {})), start, end, step, signal)));
  const whole = new Map<number, number>();
  for (const x of all) for (const [t, v] of x.points) whole.set(t, (whole.get(t) ?? 0) + v);
  const left = new Map(whole);
  const byOwner = largest.map<Line>((l, i) => {
    const at = new Map<number, number>();
    for (const x of histories[i]!) for (const [t, v] of x.points) at.set(t, (at.get(t) ?? 0) + v);
    for (const [t, v] of at) if (left.has(t)) left.set(t, Math.max(0, left.get(t)! - v));
    return { name: l.place === 'workload' ? `${l.labels?.namespace ?? ''}/${l.name}` : l.name, points: [...at].sort((a, b) => a[0] - b[0]) };
  });
  // The queries are not of one moment: at the end of a live range one may lack
  // the newest point that another has.
  const edge = Math.min(...byOwner.map((l) => l.points[l.points.length - 1]?.[0] ?? 0).filter((t) => t >= end - 3 * step));
  const rest: Point[] = [...left].filter(([t]) => t <= edge).sort((a, b) => a[0] - b[0]);
  const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0);
  if (sum(left.values()) > 0.002 * sum(whole.values())) byOwner.push({ name: 'others', points: rest, color: '--idle' });
  const phases: [string, string, string][] = [['operational', 'operational: electricity', '--c3'], ['embodied', 'embodied: hardware', '--c4']];
  const byPhase = phases.flatMap(([phase, name, color]) => all.filter((x) => x.labels.phase === phase).map<Line>((x) => ({ name, points: x.points, color })));
  return { flows, leaves, byOwner, byPhase };
}

const rate = (v: number): string => `${mass(v)}/h`;

function Emitted({ params, go, unknown }: { params: Record<string, string>; go: Go; unknown: number }) {
  const s = useShared();
  const [everything, setEverything] = useState(false);
  const data = useData(`emitted ${s.node}/${s.range.seconds}/${Math.floor(s.range.end / s.range.step)}/${s.round}`, (signal) => loadEmission(s, signal));
  const e = data.value;
  const by = params.by === 'cause' ? 'cause' : 'owner';
  const lanes = e?.flows.lanes ?? [];
  const lane = (id: string): number => lanes.findIndex((l) => l.id === id);
  const [op, em] = [lane('operational'), lane('embodied')];
  const all = e?.flows.tree.root.total ?? 0;
  const rough = (i: number): boolean => i >= 0 && lanes[i]!.estimated > 0.005;
  const amount = (amounts: number[], i: number) => (i < 0 ? '–' : about(mass(amounts[i]! / scale.co2e), rough(i) && amounts[i]! > 0));
  const estimated = rough(op) || rough(em);
  const some = everything ? (e?.leaves ?? []) : (e?.leaves ?? []).slice(0, 25);
  return (
    <>
      <Panel
        title="CO2e over time"
        name="co2e-history"
        error={data.error}
        loading={data.loading}
        table={e ? () => linesTable(by === 'owner' ? e.byOwner : e.byPhase) : undefined}
        actions={
          <span class="carbon-switch" role="group" aria-label="By">
            <button type="button" aria-pressed={by === 'owner' ? 'true' : 'false'} onClick={() => go({ by: undefined }, true)}>
              By workload
            </button>
            <button type="button" aria-pressed={by === 'cause' ? 'true' : 'false'} onClick={() => go({ by: 'cause' }, true)}>
              By cause
            </button>
          </span>
        }
        note={[estimated ? 'These grams are estimated: by the intensity, the hardware or the energy behind them.' : '', e?.flows.begins ? `History begins at ${clock(e.flows.begins, 1e9)}.` : ''].filter(Boolean).join(' ') || undefined}
      >
        {e && lanes.length === 0 && <Empty>No grams were counted in this range. If the agent learned of its grid just now, they come with the next samples.</Empty>}
        {e && lanes.length > 0 && (
          <Chart label={`Grams of CO2e an hour, by ${by}`} lines={by === 'owner' ? e.byOwner : e.byPhase} start={s.range.start} end={s.range.end} step={s.range.step} stacked format={rate} onSelect={(a, b) => s.setSpan({ seconds: Math.max(60, Math.round(b - a)), end: b })} />
        )}
      </Panel>
      {e && lanes.length > 0 && (
        <Panel
          title="CO2e by owner"
          name="co2e-owners"
          table={() => ({
            columns: ['kind', 'name', 'namespace', 'grams_operational', 'grams_embodied', 'grams', 'share'],
            rows: e.leaves.map((l) => [l.place, l.name, l.labels?.namespace ?? '', op < 0 ? null : l.amounts[op]! / scale.co2e, em < 0 ? null : l.amounts[em]! / scale.co2e, l.total / scale.co2e, all > 0 ? l.total / all : null]),
          })}
          note={
            [
              e.flows.tree.excess > 0.005 ? `Owners were scaled down by up to ${percent(e.flows.tree.excess)} to what the machine emitted.` : '',
              unknown > 0 ? `${energy(unknown)} of the range have no operational grams, because nobody knew the intensity then.` : '',
              ...e.flows.lacking.map((l) => `${l.kind} is missing: ${l.error.message}`),
            ]
              .filter(Boolean)
              .join(' ') || undefined
          }
        >
          <div class="scroll">
            <table class="carbon-table">
              <thead>
                <tr>
                  <th scope="col">Owner</th>
                  <th scope="col" class="wide">
                    What
                  </th>
                  <th scope="col" class="n">
                    Electricity
                  </th>
                  <th scope="col" class="n">
                    Hardware
                  </th>
                  <th scope="col" class="n">
                    Together
                  </th>
                  <th scope="col" class="n">
                    Share
                  </th>
                  <th scope="col" class="wide" aria-hidden="true" />
                </tr>
              </thead>
              <tbody>
                {some.map((l) => (
                  <tr key={l.id} class={`row-${l.place}`}>
                    <td>{l.labels && l.place !== 'rest' ? <a href={detailHref(l.place as Owned, l.labels, common(params))}>{l.name}</a> : l.name}</td>
                    <td class="wide muted">{l.kind}</td>
                    <td class="n">{amount(l.amounts, op)}</td>
                    <td class="n">{amount(l.amounts, em)}</td>
                    <td class="n">{about(mass(l.total / scale.co2e), estimated)}</td>
                    <td class="n">{all > 0 ? share(l.total / all) : '–'}</td>
                    <td class="wide">
                      <Bar share={all > 0 ? l.total / all : null} estimated={estimated} />
                    </td>
                  </tr>
                ))}
              </tbody>
              <tfoot>
                <tr>
                  <th scope="row">All</th>
                  <td class="wide" />
                  <td class="n">{amount(e.flows.tree.root.amounts, op)}</td>
                  <td class="n">{amount(e.flows.tree.root.amounts, em)}</td>
                  <td class="n">{about(mass(all / scale.co2e), estimated)}</td>
                  <td class="n">100 %</td>
                  <td class="wide" />
                </tr>
              </tfoot>
            </table>
          </div>
          {e.leaves.length > 25 && (
            <button type="button" class="quiet" aria-expanded={everything ? 'true' : 'false'} onClick={() => setEverything(!everything)}>
              {everything ? 'Show the largest 25' : `Show all ${e.leaves.length.toLocaleString('en')}`}
            </button>
          )}
        </Panel>
      )}
    </>
  );
}

function linesTable(lines: Line[]): Table {
  const at = new Map<number, (number | null)[]>();
  lines.forEach((l, i) => {
    for (const [t, v] of l.points) {
      let row = at.get(t);
      if (!row) at.set(t, (row = lines.map(() => null)));
      row[i] = v;
    }
  });
  return { columns: ['time', ...lines.map((l) => `${l.name} g/h`)], rows: [...at].sort((a, b) => a[0] - b[0]).map(([t, row]) => [iso(t), ...row]) };
}
