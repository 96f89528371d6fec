import './workloads.css';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { scopeKey, useShared, type Shared } from '../context';
import { json, labelValues, query, queryRange } from '../lib/api';
import { useData } from '../lib/data';
import { clock, energy, mass, money, percent, watts } from '../lib/format';
import { Live, type Snapshot } from '../lib/live';
import { total } from '../lib/now';
import { kinds, type Kind } from '../lib/owners';
import { families, node, oneOf, owners } from '../lib/queries';
import { resolve } from '../lib/range';
import { add, currencies, detailHref, kindsOf, merge, search, sorted, sums, tabs, usual, where, without, type Row, type Sums, type Value } from '../lib/rows';
import { common, href, navigate } from '../lib/route';
import type { Point, Series } from '../lib/types';
import { Bar } from '../parts/Bar';
import { Figure } from '../parts/Figure';
import { Empty, Panel } from '../parts/Panel';
import { Spark } from '../parts/Spark';
import { Table, type Column, type Foot } from '../parts/Table';

// Processes of an agent are remembered as long as the page is open.
export const live = new Live();

export const liveProcesses = (s: Shared): boolean => s.info.snapshot;

// useLive asks for the newest snapshot each time that the page refreshes.
export function useLive(s: Shared, wanted: boolean) {
  return useData(wanted ? `live ${s.now?.time ?? 0}/${s.range.end}/${s.round}` : '', async (signal) => {
    if (!wanted) return 0;
    live.add(await json<Snapshot>('api/noether/v1/snapshot', signal));
    return live.time ?? 0;
  });
}

export interface Listed {
  rows: Row[];
  machine: Sums;
  estimated: string[]; // components of which energy was estimated
  history: Point[]; // watts of the machine
  step: number;
}

const value = (list: Series[]): number | null => add(list.map((x) => x.points.at(-1)?.[1]));

// sumOver adds series up point by point.
export function sumOver(list: Series[]): Point[] {
  const at = new Map<number, number>();
  for (const s of list) for (const [t, v] of s.points) at.set(t, (at.get(t) ?? 0) + v);
  return [...at].sort((a, b) => a[0] - b[0]);
}

const byCurrency = (cost: Series[], credit: Series[]): Map<string, number> => {
  const sum = new Map<string, number>();
  for (const [list, sign] of [[cost, 1], [credit, -1]] as const) for (const x of list) sum.set(x.labels.currency ?? '', (sum.get(x.labels.currency ?? '') ?? 0) + sign * (x.points.at(-1)?.[1] ?? 0));
  return sum;
};

// sparse is the scope with as few points as a sparkline has.
const sparse = (s: Shared): Shared => ({ ...s, range: { ...resolve({ seconds: s.range.seconds, end: s.range.end }, s.info, s.range.end, 60), live: s.range.live } });

async function list(s: Shared, kind: Kind, signal: AbortSignal): Promise<Listed> {
  const at = (expr: string) => query(expr, s.range.end, signal);
  const none = Promise.resolve<Series[]>([]);
  const k = kinds[kind];
  const small = sparse(s);
  const [joules, power, grams, cost, credit, allJoules, allGrams, allCost, allCredit, allWatts, allPower] = await Promise.all([
    at(owners.joules(s, kind)),
    at(owners.watts(s, kind)),
    k.co2e ? at(owners.grams(s, kind)) : none,
    k.cost ? at(owners.cost(s, kind)) : none,
    k.cost ? at(owners.credit(s, kind)) : none,
    at(node.joules(s)),
    k.co2e ? at(node.grams(s)) : none,
    k.cost ? at(node.cost(s)) : none,
    k.cost ? at(node.credit(s)) : none,
    at(node.power(s)),
    queryRange(node.history(small), small.range.start, small.range.end, small.range.step, signal),
  ]);
  const history = sumOver(allPower);
  return {
    rows: merge(kind, { joules, watts: power, grams, cost, credit }),
    machine: { joules: value(allJoules), watts: value(allWatts), grams: value(allGrams), cost: byCurrency(allCost, allCredit) },
    estimated: [...new Set(allJoules.filter((x) => x.labels.quality === 'estimated' && (x.points[0]?.[1] ?? 0) > 0).map((x) => x.labels.component ?? ''))],
    history,
    step: small.range.step,
  };
}

// matchersFor matches these rows, and perhaps a few more.
function matchersFor(kind: Kind, rows: Row[]): string[] {
  const id = { pod: 'pod_uid', container: 'container_id' }[kind as string];
  const labels = id && rows.every((r) => r.labels[id]) ? [id] : kinds[kind].labels;
  return labels.map((l) => oneOf(l, [...new Set(rows.map((r) => r.labels[l] ?? ''))].sort()));
}

// useSparks has the watts over time of the rows on the screen: one query for
// those that are not known yet, when scrolling has paused.
function useSparks(s: Shared, kind: Kind | undefined, rows: Row[]): Map<string, Point[]> {
  const cache = useRef(new Map<string, { scope: string; points: Point[] }>());
  const [, drawn] = useState(0);
  const scope = `${kind}/${scopeKey(s)}`;
  const keys = rows.map((r) => r.key).join('\u0001');
  useEffect(() => {
    if (!kind) return;
    const missing = rows.filter((r) => cache.current.get(r.key)?.scope !== scope);
    if (missing.length === 0) return;
    const abort = new AbortController();
    const timer = setTimeout(() => {
      const small = sparse(s);
      queryRange(owners.history(small, kind, [], ...matchersFor(kind, missing)), small.range.start, small.range.end, small.range.step, abort.signal).then(
        (answer) => {
          if (cache.current.size > 2000) cache.current.clear();
          const found = new Map(merge(kind, { joules: [] }).map((r) => [r.key, [] as Point[]]));
          for (const x of answer) found.set(merge(kind, { joules: [x] })[0]!.key, x.points);
          for (const r of missing) cache.current.set(r.key, { scope, points: found.get(r.key) ?? [] });
          drawn((n) => n + 1);
        },
        () => undefined, // the table's own queries say what is wrong
      );
    }, 30);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [scope, keys]);
  return new Map([...cache.current].map(([k, v]) => [k, v.points]));
}

// ofMachine writes shares that stand below each other, however little they are.
const ofMachine = (v: number): string => (v > 0 && v < 5e-5 ? '<0.01 %' : v === 0 || v > 0.99995 ? percent(v) : `${(v * 100).toFixed(2)} %`);

const plural: Record<string, string> = { process: 'processes', container: 'containers', pod: 'pods', workload: 'workloads', namespace: 'namespaces', vm: 'virtual machines', unit: 'units', session: 'sessions' };
const singular: Record<string, string> = { ...Object.fromEntries(tabs.map((k) => [k, k])), vm: 'virtual machine' };

export function Workloads() {
  const s = useShared();
  const { params } = s.route;
  const names = useData(s.info.source === 'none' ? '' : `kinds ${s.range.start}/${s.range.end}/${s.node}`, async (signal) => (s.info.source === 'none' ? [] : kindsOf(await labelValues('__name__', families(s), signal, s.range))));
  const there = useMemo(() => tabs.filter((k) => (names.value ?? []).includes(k) || (k === 'process' && liveProcesses(s))), [names.value, s.info.snapshot]);
  const asked = tabs.find((k) => k === params.kind);
  const kind = asked ?? (names.value || names.error ? usual(there) : undefined);
  const isLive = kind === 'process' && liveProcesses(s);
  return (
    <Panel title="Workloads" name="workloads-kinds" class="workloads" error={names.error} loading={names.loading}>
      <nav aria-label="Kinds of workloads" class="kinds">
        {(asked && !there.includes(asked) ? [...there, asked] : there).map((k) => (
          <a key={k} href={href('workloads', { ...common(params), kind: k, q: params.q })} aria-current={k === kind ? 'page' : undefined}>
            {k === 'process' ? 'Processes' : kinds[k].title}
          </a>
        ))}
      </nav>
      {s.info.source === 'none' && !isLive && <Empty>{s.info.reason ?? 'This agent keeps no history.'}</Empty>}
      {s.info.source !== 'none' && names.value && there.length === 0 && <Empty>Nothing in this range belongs to anybody yet. Is the agent older than the range, and does the range have data? Health says what the agent sees.</Empty>}
      {kind && isLive ? <Processes key="live" s={s} /> : kind && s.info.source !== 'none' ? <Stored key={kind} s={s} kind={kind} /> : null}
    </Panel>
  );
}

function Stored({ s, kind }: { s: Shared; kind: Kind }) {
  const data = useData(`list ${kind} ${scopeKey(s)}`, (signal) => list(s, kind, signal));
  const [visible, setVisible] = useState<Row[]>([]);
  const sparks = useSparks(s, kind, visible);
  const v = data.value;
  const begins = v?.history[0]?.[0];
  const late = v && begins !== undefined && begins - s.range.start > 3 * v.step;
  return (
    <List
      s={s}
      kind={kind}
      data={data}
      onVisible={setVisible}
      points={(r) => sparks.get(r.key)}
      span={{ start: s.range.start, end: s.range.end, step: v?.step ?? s.range.step }}
      note={
        v && (
          <>
            Energy, share and line are of the range; watts are of its end. {late && <>History begins at {clock(begins, s.range.seconds + 86400)}: what was before is in no figure. </>}
            {v.estimated.length > 0 && <>~ The machine’s {v.estimated.join(' and ')} {v.estimated.length > 1 ? 'are' : 'is'} estimated, and so {v.estimated.length > 1 ? 'are' : 'is'} what owners have of it. </>}
          </>
        )
      }
    />
  );
}

function Processes({ s }: { s: Shared }) {
  const polled = useLive(s, true);
  const data = useMemo(
    () => ({
      ...polled,
      value: polled.value ? { rows: live.rows as Row[], machine: live.machine, estimated: total(s.now).estimated ? ['energy'] : [], history: live.machineWatts(), step: Math.max(s.info.interval_seconds, 60) } : undefined,
    }),
    [polled.value, polled.error, polled.loading, s.now],
  );
  if (s.info.processes === 'off' && polled.value && live.rows.length === 0) return <Empty>This agent tells nothing of processes. Start it with --processes top:100 for the hundred that use most, or --processes all.</Empty>;
  const end = live.time ?? s.range.end;
  return (
    <List
      s={s}
      kind="process"
      data={data}
      points={(r) => live.points(r.key)}
      span={{ start: Math.min(live.machineWatts()[0]?.[0] ?? end, end - 60), end, step: Math.max(s.info.interval_seconds, 60) }}
      note={
        live.time !== null && (
          <>
            Processes are in no history: watts are of {clock(live.time, 60)}, energy is what each has caused since it began{live.since !== null ? `, or since the agent did at ${clock(live.since, 86400 * 2)}` : ''}, and the line is what this page has seen. It is dynamic energy; idle and what no process explains are in “everything else”.{' '}
            {s.info.processes?.startsWith('top:') && `This agent tells of ${s.info.processes.replace('top:', 'the top ')} (--processes all for each). `}
            {data.value?.estimated.length ? '~ The energy is estimated.' : ''}
          </>
        )
      }
    />
  );
}

interface ListProps {
  s: Shared;
  kind: Kind;
  data: { value: Listed | undefined; error: import('../lib/api').ApiError | undefined; loading: boolean };
  points: (r: Row) => Point[] | undefined;
  span: { start: number; end: number; step: number };
  onVisible?: (rows: Row[]) => void;
  note: preact.ComponentChildren;
}

function List({ s, kind, data, points, span, onVisible, note }: ListProps) {
  const { params } = s.route;
  const listed = data.value;
  const rows = listed?.rows ?? [];
  const [q, setQ] = useState(params.q ?? '');
  const box = useRef<HTMLInputElement>(null);
  // While somebody types, the address follows the box and not the other way.
  useEffect(() => {
    if (document.activeElement !== box.current) setQ(params.q ?? '');
  }, [params.q]);
  const money1 = useMemo(() => currencies(rows), [rows]);
  const machine = listed?.machine;
  const share = (r: Sums): number | null => (machine?.joules && r.joules !== null ? r.joules / machine.joules : null);
  const values: Record<string, (r: Row) => Value> = {
    name: (r) => `${r.name} ${where(kind, r)}`,
    watts: (r) => r.watts,
    energy: (r) => r.joules,
    co2e: (r) => r.grams,
    share: (r) => share(r),
    ...Object.fromEntries(money1.map((c) => [`cost-${c}`, (r: Row) => r.cost.get(c) ?? null])),
  };
  const sort = params.sort && Object.hasOwn(values, params.sort) ? params.sort : kind === 'process' && liveProcesses(s) ? 'watts' : 'energy';
  const desc = params.sort && Object.hasOwn(values, params.sort) ? params.desc === '1' : true;
  const found = useMemo(() => search(rows, q), [rows, q]);
  const shown = useMemo(() => sorted(found, values[sort]!, desc), [found, sort, desc, machine?.joules]);
  const estimated = (listed?.estimated.length ?? 0) > 0;
  const hasGrams = rows.some((r) => r.grams !== null);
  const figure = (v: number | null | undefined, format: (v: number) => string) => <Figure value={v} format={format} estimated={estimated} />;
  const bar = (r: Sums) => {
    const v = share(r);
    return (
      <span class="share">
        {figure(v, ofMachine)}
        <Bar share={v} estimated={estimated} />
      </span>
    );
  };
  const line = (p: Point[] | undefined) => (p ? <Spark points={p} start={span.start} end={span.end} step={span.step} estimated={estimated} /> : null);
  const open = (r: Row): string => detailHref(kind, r.labels, common(params));
  const columns: Column<Row>[] = [
    {
      id: 'name',
      title: 'Name',
      width: 13,
      text: true,
      cell: (r) => (
        <>
          <a href={open(r)} tabIndex={-1} title={Object.entries(r.labels).map(([k, v]) => `${k}: ${v}`).join('\n')}>
            {r.name}
          </a>{' '}
          <span class="where">{where(kind, r)}</span>
        </>
      ),
    },
    { id: 'watts', title: 'Now', hint: 'Mean power at the end of the range', width: 6.5, cell: (r) => figure(r.watts, watts) },
    { id: 'energy', title: kind === 'process' && liveProcesses(s) ? 'Since its start' : 'Energy', hint: 'Dynamic and idle energy that it owns', width: 8.5, cell: (r) => figure(r.joules, energy) },
    ...(hasGrams ? [{ id: 'co2e', title: 'CO₂e', hint: 'Operational and embodied', width: 6.5, cell: (r: Row) => figure(r.grams, mass) }] : []),
    ...money1.map((c) => ({ id: `cost-${c}`, title: `Cost`, hint: `In ${c}, what was earned at negative prices taken off`, width: 6.5, cell: (r: Row) => figure(r.cost.get(c), (v) => money(v, c)) })),
    { id: 'share', title: 'Share', hint: 'Of the machine’s energy', width: 9, cell: bar },
    { id: 'line', title: 'Power', hint: 'Over time', width: 8, fixed: true, cell: (r) => line(points(r)) },
  ];
  const all = useMemo(() => sums(rows), [rows]);
  const part = useMemo(() => sums(found), [found]);
  const foot = (key: string, title: string, x: Sums, path?: Point[]): Foot => ({
    key,
    cells: [title, figure(x.watts, watts), figure(x.joules, energy), ...(hasGrams ? [figure(x.grams, mass)] : []), ...money1.map((c) => figure(x.cost.get(c), (v) => money(v, c))), bar(x), path ? line(path) : null],
  });
  const go = (to: Record<string, string | undefined>, replace = false) => navigate('workloads', { ...params, kind, ...to }, replace);
  const count = (n: number): string => n.toLocaleString('en');
  const table = () => ({
    columns: [...kinds[kind].labels, 'watts', 'joules', ...(hasGrams ? ['co2e_grams'] : []), ...money1.map((c) => `cost_${c}`), 'share', 'estimated'],
    rows: shown.map((r) => [...kinds[kind].labels.map((l) => r.labels[l]), r.watts, r.joules, ...(hasGrams ? [r.grams] : []), ...money1.map((c) => r.cost.get(c)), share(r), estimated ? 'yes' : 'no']),
  });
  return (
    <Panel title={kind === 'process' ? 'Processes' : kinds[kind].title} name="workloads" class="bare" error={data.error} loading={data.loading} table={listed && table} note={note} actions={
      <input
        type="search"
        ref={box}
        class="find"
        aria-label={`Search ${plural[kind]} by any label`}
        placeholder="Search any label"
        value={q}
        onInput={(e) => {
          setQ(e.currentTarget.value);
          go({ q: e.currentTarget.value || undefined }, true);
        }}
      />
    }>
      {listed && machine && rows.length === 0 && <Empty>No {plural[kind]} had energy in this range. Choose a longer or another range.</Empty>}
      {listed && machine && rows.length > 0 && (
        <Table
          label={`${kind === 'process' ? 'Processes' : kinds[kind].title} by ${sort}`}
          columns={columns}
          rows={shown}
          keyOf={(r) => r.key}
          sort={sort}
          desc={desc}
          onSort={(c) => go({ sort: c, desc: (c === sort ? !desc : c !== 'name') ? '1' : '0' }, true)}
          onOpen={(r) => (location.hash = open(r))}
          {...(onVisible ? { onVisible } : {})}
          foot={[
            foot('shown', found.length === rows.length ? rows.length === 1 ? `The only ${singular[kind]}` : `All ${count(rows.length)} ${plural[kind]}` : `${count(found.length)} of ${count(rows.length)} ${plural[kind]}`, part),
            ...(found.length === rows.length ? [] : [foot('others', `Other ${plural[kind]}`, without(all, part))]),
            foot('rest', 'Everything else', without(machine, all)),
            foot('machine', s.node || s.info.source !== 'prometheus' ? 'The machine' : 'All machines', machine, listed.history),
          ]}
        />
      )}
    </Panel>
  );
}
