import './flow.css';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { useShared } from '../context';
import { useData } from '../lib/data';
import type { Table } from '../lib/download';
import { find, fold, only, scale, type FlowNode, type Quantity } from '../lib/flow';
import { draw, laneName, laneNames, levelOf, neighbour, path, place, rows, type Graph, type Spot } from '../lib/flowgraph';
import { about, clock, energy, mass, money, percent, share, watts } from '../lib/format';
import { kinds, type Kind } from '../lib/owners';
import { common, href, navigate } from '../lib/route';
import { detailHref } from '../lib/rows';
import { Bar } from '../parts/Bar';
import { Empty, Panel } from '../parts/Panel';
import { available, loadFlows, type Flows, type Wanted } from './flowdata';

const depths = ['groups', 'workloads', 'pods', 'containers'] as const;
const units: [Quantity, string][] = [
  ['energy', 'Wh'],
  ['co2e', 'gCO2e'],
  ['cost', 'Cost'],
];
const top = 12;
const narrow = '(max-width: 46rem)';

// what a node is, for people.
function titleOf(s: { place: Spot['place'] }): string {
  if (s.place === 'sensor') return 'meter';
  if (s.place === 'lane') return 'part of the machine';
  if (s.place === 'rest') return 'not explained by any owner shown';
  if (s.place === 'others') return 'smaller ones together';
  const one: Partial<Record<Kind, string>> = { namespace: 'namespace', workload: 'workload', pod: 'pod', container: 'container', vm: 'virtual machine', unit: 'system unit', session: 'user session', system: 'system account' };
  return one[s.place as Kind] ?? 'group';
}

const accounts: Record<string, string> = { idle: 'Idle', kernel: 'Kernel', exited: 'Exited within a tick', unattributed: 'Unattributed', unreserved: 'Unreserved' };
const label = (s: { place: Spot['place']; name: string }): string => (s.place === 'system' ? (accounts[s.name] ?? s.name) : s.name);

// describes adds what tells owners of one name apart.
const describes = (s: Spot): string => {
  const l = s.labels ?? {};
  switch (s.place) {
    case 'workload':
      return [l.workload_kind, l.namespace && `in ${l.namespace}`].filter(Boolean).join(' ');
    case 'pod':
      return l.namespace ? `in ${l.namespace}` : '';
    case 'container':
      return l.pod ? `in ${l.namespace}/${l.pod}` : (l.container_id ?? '').slice(0, 12);
    default:
      return '';
  }
};

export function Flow() {
  const s = useShared();
  const { params } = s.route;
  const go = (to: Record<string, string | undefined>, replace = false) => navigate('flow', { ...params, ...to }, replace);
  const unit: Quantity = params.unit === 'co2e' || params.unit === 'cost' ? params.unit : 'energy';
  const depth = Math.max(0, depths.indexOf((params.depth ?? 'pods') as (typeof depths)[number]));
  const focus = params.focus ?? 'all:';
  const part = params.part ?? '';
  const open = (params.open ?? '').split('|').filter(Boolean);
  const isNarrow = useMedia(narrow);
  const asTable = params.as ? params.as === 'table' : isNarrow;

  // The focus tells how deep to ask: one level below it at least.
  const [kind = '', rest = ''] = splitId(focus);
  const level = Math.max(depth + 1, levelOf(kind as FlowNode['place']) + 1);
  const namespace = ['namespace', 'workload', 'pod', 'container'].includes(kind) ? decode(rest.split('/')[0] ?? '') : '';
  const want: Wanted = { pods: level >= 3 || kind === 'pods', containers: level >= 4, namespace: level > depth + 1 ? namespace : '' };
  // Figures of a long range do not move in seconds.
  const key = `${s.node}/${s.range.seconds}/${Math.floor(s.range.end / s.range.step)}/${s.round}/${s.info.source}`;
  const none = s.info.source === 'none';
  const has = useData(none ? '' : `has ${key}`, async (signal) => (none ? undefined : available(s, signal)));
  const data = useData(none ? '' : `flow ${key} ${unit} ${JSON.stringify(want)}`, async (signal) => (none ? undefined : loadFlows(s, unit, want, signal)));
  const grams = useData(has.value?.co2e && unit === 'energy' ? `grams ${key} ${JSON.stringify(want)}` : '', async (signal) => (has.value?.co2e && unit === 'energy' ? loadFlows(s, 'co2e', want, signal) : undefined));

  const flows = data.value?.quantity === unit ? data.value : undefined;
  const view = useMemo(() => (flows ? look(flows, { focus, part, level, open }) : undefined), [flows, focus, part, level, params.open]);
  const gramsOf = useMemo(() => (grams.value ? index(grams.value.tree.root) : undefined), [grams.value]);

  const show: Shown = {
    amount: (v) => (unit === 'energy' ? energy(v / scale.energy) : unit === 'co2e' ? mass(v / scale.co2e) : money(v / scale.cost, flows?.currency || 'EUR')),
    watts: (v) => (unit === 'energy' && flows ? watts(v / scale.energy / flows.covered) : null),
    grams: (id) => {
      const g = part ? undefined : gramsOf?.get(id);
      return g ? about(mass(g.total / scale.co2e), (grams.value?.lanes ?? []).some((l) => l.estimated > 0.005 && l.total > 0)) : null;
    },
    whole: view?.whole ?? 0,
  };

  const select = (spot: Spot) => {
    if (spot.place === 'others') go({ open: [...open, spot.open].join('|') });
    else if (spot.place === 'lane' || (spot.place === 'sensor' && spot.lane >= 0)) {
      const lane = flows?.lanes[spot.lane];
      const to = spot.place === 'sensor' ? lane?.group : lane?.id;
      if (to) go({ part: to === part ? undefined : to });
    } else if (spot.place !== 'rest' && spot.place !== 'sensor' && spot.id !== focus) go({ focus: spot.id, open: undefined });
  };
  const up = () => {
    const way = view?.way ?? [];
    if (way.length > 1) go({ focus: way[way.length - 2]!.id === 'all:' ? undefined : way[way.length - 2]!.id, open: undefined });
    else if (focus !== 'all:') go({ focus: undefined, open: undefined });
    else if (part) go({ part: undefined });
  };

  const estimated = view ? view.graph.spots.some((x) => x.place !== 'sensor' && x.estimated > 0.005) : false;
  return (
    <Panel
      title="Where it went"
      name="flow"
      class="flow-panel"
      error={data.error}
      loading={data.loading}
      table={view && flows ? () => tableOf(view.full, flows, show) : undefined}
      actions={
        <>
          <span class="flow-switch" role="group" aria-label="Unit">
            {units.map(([u, name]) =>
              u === 'energy' || has.value?.[u] || unit === u ? (
                <button type="button" key={u} aria-pressed={unit === u ? 'true' : 'false'} onClick={() => go({ unit: u === 'energy' ? undefined : u, part: undefined })}>
                  {name}
                </button>
              ) : null,
            )}
          </span>
          <label>
            <span class="flow-word">Down to </span>
            <select aria-label="Down to" value={depths[depth]} onChange={(e) => go({ depth: e.currentTarget.value === 'pods' ? undefined : e.currentTarget.value, open: undefined })}>
              {depths.map((d) => (
                <option key={d} value={d}>
                  {d === 'workloads' ? 'workloads, units' : d}
                </option>
              ))}
            </select>
          </label>
          <span class="flow-switch" role="group" aria-label="Shown as">
            <button type="button" aria-pressed={asTable ? 'false' : 'true'} onClick={() => go({ as: 'flow' }, true)}>
              Flow
            </button>
            <button type="button" aria-pressed={asTable ? 'true' : 'false'} onClick={() => go({ as: 'table' }, true)}>
              Table
            </button>
          </span>
        </>
      }
      note={flows && view && <Notes flows={flows} estimated={estimated} spanSeconds={s.range.seconds} />}
    >
      <Crumbs way={view?.way ?? []} part={part} go={go} shared={common(params)} />
      {s.info.source === 'none' && <Empty>A flow is made of history, and there is none here{s.info.reason ? `: ${s.info.reason}` : '.'}</Empty>}
      {flows && flows.lanes.length === 0 && <Nothing unit={unit} />}
      {view && flows && flows.lanes.length > 0 && (view.lost || view.graph.spots.length === 0) && (
        <Empty>
          {focus === 'all:' ? 'There is nothing of that in this range.' : 'What is in focus used nothing in this range, or is not known by this name.'} <a href={href('flow', common(params))}>Show everything</a>
        </Empty>
      )}
      {view && flows && view.graph.spots.length > 0 && (asTable ? <List view={view} show={show} onSelect={select} onUp={up} focus={focus} /> : <Sankey view={view} flows={flows} show={show} onSelect={select} onUp={up} />)}
      {view && flows && !asTable && view.graph.spots.length > 0 && <Legend flows={flows} />}
      {!flows && data.loading && !data.error && <p class="empty flow-wait">Adding up…</p>}
    </Panel>
  );
}

interface Shown {
  amount: (v: number) => string;
  watts: (v: number) => string | null;
  grams: (id: string) => string | null;
  whole: number;
}

interface View {
  way: FlowNode[]; // from the root to the focus
  graph: Graph;
  full: FlowNode; // of the focus, not folded
  whole: number; // of the machine, of the parts that are shown
  lost: boolean; // the focus is not in this range
}

const splitId = (id: string): [string, string] => {
  const i = id.indexOf(':');
  return i < 0 ? [id, ''] : [id.slice(0, i), id.slice(i + 1)];
};

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

function look(flows: Flows, { focus, part, level, open }: { focus: string; part: string; level: number; open: string[] }): View {
  const keep = flows.lanes.map((l) => part === '' || l.id === part || l.group === part);
  const root = part ? only(flows.tree.root, keep) : flows.tree.root;
  const found = find(root, focus);
  const way = found ?? [root];
  const full = way[way.length - 1]!;
  // Owners may lie directly below a group: levels are counted from the focus.
  const below = Math.max(1, level - (full.place === 'all' ? 0 : levelOf(full.place)));
  const folded = fold(full, { depth: below, top, open });
  return { way, graph: draw(flows.lanes, folded, flows.meters, flows.quantity), full: fold(full, { depth: below, top: Infinity, open: [] }), whole: root.total, lost: found === null };
}

function index(root: FlowNode): Map<string, FlowNode> {
  const out = new Map<string, FlowNode>();
  const walk = (n: FlowNode) => {
    out.set(n.id, n);
    n.children.forEach(walk);
  };
  walk(root);
  return out;
}

function useMedia(text: string): boolean {
  const [is, set] = useState(() => matchMedia(text).matches);
  useEffect(() => {
    const m = matchMedia(text);
    const changed = () => set(m.matches);
    m.addEventListener('change', changed);
    return () => m.removeEventListener('change', changed);
  }, [text]);
  return is;
}

function Crumbs({ way, part, go, shared }: { way: FlowNode[]; part: string; go: (to: Record<string, string | undefined>) => void; shared: Record<string, string | undefined> }) {
  const last = way[way.length - 1];
  if (way.length <= 1 && !part) return null;
  const [group = '', half] = part.split('/');
  return (
    <nav class="flow-crumbs" aria-label="In focus">
      <ol>
        {way.map((n, i) => (
          <li key={n.id}>
            {i < way.length - 1 ? (
              <button type="button" class="quiet" onClick={() => go({ focus: n.id === 'all:' ? undefined : n.id, open: undefined })}>
                {label(n)}
              </button>
            ) : (
              <span aria-current="location">{label(n)}</span>
            )}
          </li>
        ))}
      </ol>
      {last?.labels && last.place in kinds && <a href={detailHref(last.place as Kind, last.labels, shared)}>Details</a>}
      {part && (
        <button type="button" class="flow-part" onClick={() => go({ part: undefined })} title="Show all parts again">
          only {laneNames[group] ?? group}
          {half ? (half === 'idle' ? ', idle' : ', at work') : ''} <span aria-hidden="true">×</span>
        </button>
      )}
    </nav>
  );
}

function Nothing({ unit }: { unit: Quantity }) {
  if (unit === 'co2e') return <Empty>No grams were counted in this range: the agent has to know the grid, by --grid.zone, or the hardware, by --embodied.kg. See the carbon view.</Empty>;
  if (unit === 'cost') return <Empty>No cost was counted in this range: tell the agent a price, by --price.per-kwh.</Empty>;
  return <Empty>No energy was counted in this range. If the agent has just started, the first figures come within a minute; else choose a range in which it ran.</Empty>;
}

function Notes({ flows, estimated, spanSeconds }: { flows: Flows; estimated: boolean; spanSeconds: number }) {
  const notes: string[] = [];
  if (flows.begins !== null) notes.push(`History begins at ${clock(flows.begins, Math.max(spanSeconds, 86401))}: this is what was used since.`);
  if (flows.tree.excess > 0.005) notes.push(`Counters of owners that came or went in this range are extrapolated to its borders; owners were scaled down by up to ${percent(flows.tree.excess)} to what the machine used.`);
  if (estimated) notes.push('Hatched is estimated: nobody measured it. How much of an owner is estimated is that of the parts it used.');
  if (flows.quantity === 'cost') notes.push('Only namespaces, workloads and pods have cost of their own.');
  if (flows.others.length > 0) notes.push(`Also in ${flows.others.join(', ')}, which is not shown.`);
  for (const { kind, error } of flows.lacking) notes.push(`${kinds[kind].title} are missing: ${error.message}`);
  return notes.length ? (
    <>
      {notes.map((n) => (
        <span class="flow-note" key={n}>
          {n}{' '}
        </span>
      ))}
    </>
  ) : null;
}

const laneClass = (group: string, idle: boolean): string => `lane lane-${group in laneNames ? group : 'other'}${idle ? ' idle' : ''}`;

const hatch = (group: string): string => `flow-hatch-${group.replace(/\W/g, '')}`;

function Legend({ flows }: { flows: Flows }) {
  const guessed = flows.lanes.find((l) => l.estimated > 0.005);
  return (
    <ul class="flow-legend" aria-label="Colours">
      {flows.lanes.map((l) => (
        <li key={l.id}>
          <svg width="12" height="12" aria-hidden="true">
            <rect width="12" height="12" rx="2" class={laneClass(l.group, l.idle)} />
          </svg>
          {laneName(l)}
        </li>
      ))}
      {guessed && (
        <li>
          <svg width="12" height="12" aria-hidden="true">
            <rect width="12" height="12" rx="2" style={{ fill: `url(#${hatch(guessed.group)})` }} />
          </svg>
          estimated
        </li>
      )}
    </ul>
  );
}

// facts is everything that is known of a node, as text.
function facts(spot: Spot, show: Shown): string[] {
  const rough = spot.estimated > 0.005;
  const out = [about(show.amount(spot.total), rough)];
  if (show.whole > 0) out.push(`${share(spot.total / show.whole)} of all`);
  const w = show.watts(spot.total);
  if (w) out.push(`${about(w, rough)} mean`);
  const g = show.grams(spot.id);
  if (g) out.push(`${g} CO2e`);
  if (rough) out.push(spot.estimated > 0.995 ? 'estimated' : `${percent(spot.estimated)} estimated`);
  return out;
}

const doing = (spot: Spot, focus: string): string =>
  spot.id === focus ? '' : spot.place === 'others' ? 'open' : spot.place === 'lane' ? 'only this part' : spot.place === 'sensor' ? (spot.lane >= 0 ? 'only what it measures' : '') : spot.place === 'rest' ? '' : 'focus';

// Ruler tells how many pixels a text of the picture takes.
type Ruler = (text: string) => number;

// rulerOf measures with the font that the picture has.
function rulerOf(svg: Element): Ruler | null {
  const context = document.createElement('canvas').getContext('2d');
  if (!context) return null;
  const { fontStyle, fontWeight, fontSize, fontFamily } = getComputedStyle(svg);
  context.font = `${fontStyle} ${fontWeight} ${fontSize} ${fontFamily}`;
  return (text) => context.measureText(text).width;
}

const cut = (text: string, width: number, ruler: Ruler): string => {
  const whole = ruler(text);
  if (whole <= width) return text;
  const n = Math.max(4, Math.floor((text.length * width) / whole));
  return `${text.slice(0, n - 1)}…`;
};

function Sankey({ view, flows, show, onSelect, onUp }: { view: View; flows: Flows; show: Shown; onSelect: (s: Spot) => void; onUp: () => void }) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(900);
  const [ruler, setRuler] = useState<Ruler>(() => (text: string) => text.length * 6.7);
  const [lit, setLit] = useState<string | null>(null); // under the pointer
  const [held, setHeld] = useState(false); // the keyboard is in the picture
  const [at, setAt] = useState(''); // where the keyboard is
  const { graph } = view;
  const focus = view.way[view.way.length - 1]!.id;
  useEffect(() => {
    const root = box.current;
    if (!root) return;
    const measure = () => setWidth(Math.max(640, Math.floor(root.clientWidth)));
    measure();
    const label = root.querySelector('.spot text');
    const found = label && rulerOf(label);
    if (found) setRuler(() => found);
    const resize = new ResizeObserver(measure);
    resize.observe(root);
    return () => resize.disconnect();
  }, []);
  const picture = useMemo(() => place(graph, flows.lanes, width), [graph, flows.lanes, width]);
  const roving = graph.spots.some((x) => x.id === at) ? at : (graph.spots.find((x) => x.place !== 'sensor')?.id ?? graph.spots[0]?.id ?? '');
  const shown = lit ?? (held ? roving : null);
  const way = useMemo(() => (shown ? path(graph, shown) : null), [graph, shown]);
  const hot = shown ? picture.spots.find((x) => x.id === shown) : undefined;
  const gap = picture.spots.length ? (width - 190) / Math.max(1, graph.columns.length - 1) - 20 : 100;

  const keys: Record<string, 'left' | 'right' | 'up' | 'down' | 'home' | 'end'> = { ArrowLeft: 'left', ArrowRight: 'right', ArrowUp: 'up', ArrowDown: 'down', Home: 'home', End: 'end' };
  const pressed = (e: KeyboardEvent, spot: Spot) => {
    const arrow = keys[e.key];
    if (arrow) {
      const to = neighbour(graph, spot.id, arrow);
      setAt(to);
      const i = graph.spots.findIndex((x) => x.id === to);
      box.current?.querySelector<SVGGElement>(`[data-spot="${i}"]`)?.focus();
    } else if (e.key === 'Enter' || e.key === ' ') onSelect(spot);
    else if (e.key === 'Escape') onUp();
    else return;
    e.preventDefault();
  };

  return (
    <div class="flow-box">
      <div class="flow-scroll" ref={box}>
        <div class="flow-titles" aria-hidden="true" style={{ width: `${width}px` }}>
          {graph.columns.map((title, i) => {
            const first = picture.spots.find((x) => x.column === i);
            return first ? (
              <span key={i} style={{ left: `${first.x0}px` }}>
                {title}
              </span>
            ) : null;
          })}
        </div>
        <svg width={width} height={picture.height} class={`flow-picture${way ? ' lit' : ''}`} role="group" aria-label="Flow of energy; arrow keys go from node to node, Enter focuses, Escape goes up" onMouseLeave={() => setLit(null)}>
          <defs>
            {[...new Set([...flows.lanes.map((l) => l.group), 'block'])].map((g) => (
              <pattern key={g} id={hatch(g)} width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
                <rect width="6" height="6" class={g === 'block' ? g : laneClass(g, false)} opacity="0.35" />
                <rect width="2.5" height="6" class={g === 'block' ? g : laneClass(g, false)} />
              </pattern>
            ))}
          </defs>
          <g aria-hidden="true" class="flow-ribbons">
            {picture.ribbons.map((r, i) => {
              const lane = flows.lanes[r.lane]!;
              return (
                <path
                  key={i}
                  d={r.path}
                  class={`${laneClass(lane.group, lane.idle)}${way && way.has(r.source) && way.has(r.target) ? ' on' : ''}`}
                  {...(r.hatched ? { style: { fill: `url(#${hatch(lane.group)})` } } : {})}
                  onMouseEnter={() => setLit(r.target.startsWith('lane:') ? r.source : r.target)}
                />
              );
            })}
          </g>
          {picture.spots.map((spot, i) => {
            const name = label(spot);
            const words = [name, titleOf(spot), describes(spot), ...facts(spot, show)].filter(Boolean).join(', ');
            const amount = about(show.amount(spot.total), spot.estimated > 0.005);
            const middle = (spot.y0 + spot.y1) / 2;
            const lane = spot.place === 'lane' ? flows.lanes[spot.lane]! : undefined;
            return (
              <g
                key={spot.id}
                class={`spot spot-${spot.place}${way?.has(spot.id) ? ' on' : ''}${doing(spot, focus) ? ' can' : ''}`}
                onMouseEnter={() => setLit(spot.id)}
                onClick={() => onSelect(spot)}
              >
                <g
                  data-spot={i}
                  role="button"
                  tabIndex={spot.id === roving ? 0 : -1}
                  aria-label={words + (doing(spot, focus) ? `; Enter: ${doing(spot, focus)}` : '')}
                  class="spot-button"
                  onFocus={() => {
                    setAt(spot.id);
                    setHeld(true);
                  }}
                  onBlur={() => setHeld(false)}
                  onKeyDown={(e) => pressed(e, spot)}
                >
                  <rect class="hit" x={spot.x0} y={Math.min(spot.y0, middle - 7)} width={spot.x1 - spot.x0 + Math.min(gap, ruler(name) + 60)} height={Math.max(spot.y1 - spot.y0, 14)} />
                  <rect class={lane ? laneClass(lane.group, lane.idle) : 'block'} x={spot.x0} y={spot.y0} width={spot.x1 - spot.x0} height={Math.max(spot.y1 - spot.y0, 1)} rx="1.5" {...(spot.estimated > 0.995 && (lane || spot.place === 'sensor') ? { style: { fill: `url(#${hatch(lane?.group ?? 'block')})` } } : {})} />
                </g>
                <text aria-hidden="true" x={spot.x1 + 5} y={middle} dy="0.35em">
                  {cut(name, (spot.column === graph.columns.length - 1 ? width - spot.x1 - 14 : gap) - ruler(amount), ruler)}
                  <tspan class="amount" dx="5">
                    {amount}
                  </tspan>
                </text>
              </g>
            );
          })}
        </svg>
        {hot && (
          <div class="flow-tip" role="presentation" style={{ left: `${Math.max(0, Math.min(hot.x0, width - 270))}px`, top: `${hot.y1 + 34 > picture.height - 90 ? Math.max(0, hot.y0 - 92) : hot.y1 + 34}px` }}>
            <strong>{label(hot)}</strong>
            <span>{[titleOf(hot), describes(hot)].filter(Boolean).join(' · ')}</span>
            <span class="facts">{facts(hot, show).join(' · ')}</span>
            {doing(hot, focus) && <span class="do">Click or Enter: {doing(hot, focus)}</span>}
          </div>
        )}
      </div>
    </div>
  );
}

function List({ view, show, onSelect, onUp, focus }: { view: View; show: Shown; onSelect: (s: Spot) => void; onUp: () => void; focus: string }) {
  const all = rows(view.graph);
  const hasWatts = show.watts(1) !== null;
  const hasGrams = all.some((r) => show.grams(r.id) !== null);
  return (
    <div class="scroll">
      <table class="flow-table" onKeyDown={(e) => e.key === 'Escape' && onUp()}>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col" class="wide">
              What
            </th>
            <th scope="col" class="n">
              Amount
            </th>
            <th scope="col" class="n">
              Share
            </th>
            <th scope="col" class="wide" aria-hidden="true" />
            {hasWatts && (
              <th scope="col" class="n wide">
                Mean power
              </th>
            )}
            {hasGrams && (
              <th scope="col" class="n wide">
                CO2e
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {all.map(({ spot, depth }, i) => {
            const rough = spot.estimated > 0.005;
            const begins = i === 0 || (all[i - 1]!.spot.place !== spot.place && (spot.place === 'lane' || all[i - 1]!.spot.place === 'lane'));
            return (
              <tr key={spot.id} class={`${begins && i > 0 ? 'begins ' : ''}row-${spot.place}`}>
                <td>
                  <span class={`flow-indent flow-indent-${Math.min(depth, 4)}`}>
                    {doing(spot, focus) ? (
                      <button type="button" class="flow-name" onClick={() => onSelect(spot)}>
                        {label(spot)}
                      </button>
                    ) : (
                      <span class="flow-name">{label(spot)}</span>
                    )}
                  </span>
                </td>
                <td class="wide muted">{[titleOf(spot), describes(spot)].filter(Boolean).join(' ')}</td>
                <td class="n">{about(show.amount(spot.total), rough)}</td>
                <td class="n">{show.whole > 0 ? share(spot.total / show.whole) : '–'}</td>
                <td class="wide">
                  <Bar share={show.whole > 0 ? spot.total / show.whole : null} estimated={rough} />
                </td>
                {hasWatts && <td class="n wide">{about(show.watts(spot.total) ?? '–', rough)}</td>}
                {hasGrams && <td class="n wide">{show.grams(spot.id) ?? '–'}</td>}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

// tableOf is everything of the focus, also what is folded on the screen.
function tableOf(full: FlowNode, flows: Flows, show: Shown): Table {
  const graph = draw(flows.lanes, full, flows.meters, flows.quantity);
  const unit = flows.quantity === 'energy' ? 'watt_hours' : flows.quantity === 'co2e' ? 'grams_co2e' : `cost_${flows.currency}`;
  const by = flows.quantity === 'energy' ? 3600 * scale.energy : scale[flows.quantity];
  return {
    columns: ['kind', 'name', 'within', 'namespace', 'pod', unit, ...(flows.quantity === 'energy' ? ['joules', 'mean_watts'] : []), 'share', 'estimated_share'],
    rows: rows(graph).map(({ spot, from }) => [
      spot.place === 'lane' ? 'part' : spot.place,
      spot.name,
      from,
      spot.labels?.namespace ?? '',
      spot.labels?.pod ?? '',
      spot.total / by,
      ...(flows.quantity === 'energy' ? [spot.total / scale.energy, spot.total / scale.energy / flows.covered] : []),
      show.whole > 0 ? spot.total / show.whole : null,
      spot.estimated,
    ]),
  };
}
