import './detail.css';
import type { ComponentChildren } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { scopeKey, useShared, type Shared } from '../context';
import { query, queryRange } from '../lib/api';
import { useData } from '../lib/data';
import { clock, energy, mass, money, number, percent, scaled, watts } from '../lib/format';
import { byComponent, total } from '../lib/now';
import { kinds, type Kind } from '../lib/owners';
import { node, owner, owners } from '../lib/queries';
import { before, formatDuration } from '../lib/range';
import { add, detailHref, known, matchesTree, merge, ownerOf, sorted, type Row } from '../lib/rows';
import { common, href, navigate } from '../lib/route';
import { zoomed } from '../lib/time';
import type { Labels, Series } from '../lib/types';
import { Bar } from '../parts/Bar';
import { Chart, type Line } from '../parts/Chart';
import { Figure } from '../parts/Figure';
import { Empty, Panel } from '../parts/Panel';
import { live, liveProcesses, sumOver, useLive } from './workloads';

const color: Record<string, string> = { cpu: '--c1', memory: '--c2', gpu: '--c3', other: '--c4' };
const withCPU: Kind[] = ['container', 'pod', 'unit', 'vm'];
const single: Record<Kind, string> = { namespace: 'Namespace', workload: 'Workload', pod: 'Pod', container: 'Container', vm: 'Virtual machine', unit: 'System unit', session: 'User session', system: 'System account', process: 'Process' };

const value = (list: Series[] | undefined): number | null => add((list ?? []).map((x) => x.points.at(-1)?.[1]));

// partLines are stacked lines, a component after the other, idle above dynamic.
export function partLines(list: Series[]): Line[] {
  return list
    .map((x) => ({ component: x.labels.component ?? '', part: x.labels.part ?? 'dynamic', points: x.points }))
    .sort((a, b) => byComponent(a, b) || a.part.localeCompare(b.part))
    .map((x) => ({ name: x.part === 'idle' ? `${x.component}, idle` : x.component, points: x.points, color: color[x.component] ?? '--c8', faint: x.part === 'idle' }));
}

export function Detail() {
  const s = useShared();
  const asked = ownerOf(s.route.params);
  if (!asked || Object.keys(asked.labels).length === 0) {
    return (
      <Panel title="Whose energy?" name="detail">
        <Empty>
          This address names nobody. Choose somebody from <a href={href('workloads', common(s.route.params))}>Workloads</a>.
        </Empty>
      </Panel>
    );
  }
  const id = `${asked.kind}/${Object.values(asked.labels).join('/')}`;
  if (asked.kind === 'process' && liveProcesses(s)) return <ProcessDetail key={id} s={s} labels={asked.labels} />;
  return <OwnerDetail key={id} s={s} kind={asked.kind} labels={asked.labels} />;
}

// Names shows the labels of an owner, each of which can be copied.
function Names({ s, kind, labels, children }: { s: Shared; kind: Kind; labels: Labels; children?: ComponentChildren }) {
  const [copied, setCopied] = useState('');
  const copy = async (name: string, text: string) => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(`${name} copied`);
    } catch {
      setCopied('This browser does not let the page copy: mark the text instead');
    }
  };
  return (
    <div class="owner">
      <p class="owner-kind">
        <a href={href('workloads', { ...common(s.route.params), kind })}>{kind === 'process' ? 'Processes' : kinds[kind].title}</a> › {single[kind]}
      </p>
      <ul class="labels" aria-label="Labels">
        {kinds[kind].labels
          .filter((n) => labels[n])
          .map((n) => (
            <li key={n}>
              <button type="button" onClick={() => void copy(n, labels[n]!)} title={`Copy ${n}`}>
                <span>{n}</span> {labels[n]}
              </button>
            </li>
          ))}
      </ul>
      <p class="note" role="status">{copied}</p>
      {children}
    </div>
  );
}

export function Tile({ title, children, note }: { title: string; children: ComponentChildren; note?: ComponentChildren }) {
  return (
    <div class="tile">
      <dt>{title}</dt>
      <dd>{children}</dd>
      {note && <dd class="note">{note}</dd>}
    </div>
  );
}

async function load(s: Shared, kind: Kind, m: string[], signal: AbortSignal) {
  const at = (expr: string) => query(expr, s.range.end, signal);
  const none = Promise.resolve<Series[]>([]);
  const k = kinds[kind];
  const [joules, parts, power, grams, cost, credit, machine, cpu] = await Promise.all([
    at(owners.joules(s, kind, [], ...m)),
    at(owners.joules(s, kind, ['component', 'part'], ...m)),
    at(owners.watts(s, kind, [], ...m)),
    k.co2e ? at(owners.grams(s, kind, [], ...m)) : none,
    k.cost ? at(owners.cost(s, kind, ...m)) : none,
    k.cost ? at(owners.credit(s, kind, ...m)) : none,
    at(node.joules(s)),
    withCPU.includes(kind) ? at(owner.cpuSeconds(s, kind, ...m)) : none,
  ]);
  return { rows: merge(kind, { joules, watts: power, grams, cost, credit }), parts, machine, cpu: value(cpu) };
}

function OwnerDetail({ s, kind, labels }: { s: Shared; kind: Kind; labels: Labels }) {
  const { range } = s;
  const { params } = s.route;
  const m = known(kind, labels);
  const beside = params.before === '1';
  const data = useData(`detail ${scopeKey(s)}`, (signal) => load(s, kind, m, signal));
  const history = useData(`detail history ${scopeKey(s)}`, (signal) => queryRange(owners.history(s, kind, ['component', 'part'], ...m), range.start, range.end, range.step, signal));
  const earlier = useData(beside ? `detail before ${scopeKey(s)}` : '', async (signal) => {
    if (!beside) return [];
    const b = before(range);
    return queryRange(owners.history({ ...s, range: b }, kind, [], ...m), b.start, b.end, range.step, signal);
  });
  const rows = data.value?.rows ?? [];
  const gone = data.value !== undefined && !rows.some((r) => r.watts !== null);
  const seen = useData(gone ? `seen ${scopeKey(s)}` : '', async (signal) => (gone ? value(await query(owner.lastSeen(s, kind, Math.min(s.info.retention_seconds ?? 30 * 86400, 30 * 86400), ...m), range.end, signal)) : null));

  // What a link left out is known when only one owner matches.
  const full = rows.length === 1 ? rows[0]!.labels : labels;
  const joules = add(rows.map((r) => r.joules));
  const machine = value(data.value?.machine);
  const estimated = new Set((data.value?.machine ?? []).filter((x) => x.labels.quality === 'estimated' && (x.points[0]?.[1] ?? 0) > 0).map((x) => x.labels.component ?? ''));
  const of = new Map<string, number>();
  for (const x of data.value?.parts ?? []) of.set(x.labels.part ?? '', (of.get(x.labels.part ?? '') ?? 0) + (x.points[0]?.[1] ?? 0));
  const guessed = (data.value?.parts ?? []).some((x) => estimated.has(x.labels.component ?? '') && (x.points[0]?.[1] ?? 0) > 0);
  const cpu = data.value?.cpu ?? null;
  const money1 = [...new Set(rows.flatMap((r) => [...r.cost.keys()]))];
  const grams = add(rows.map((r) => r.grams));

  const lines = useMemo<Line[]>(() => {
    const stack = partLines(mergeParts(history.value ?? []));
    if (!beside || !earlier.value?.length) return stack;
    return [...stack, { name: 'range before', points: sumOver(earlier.value).map(([t, v]) => [t + range.seconds, v]), color: '--muted', dashed: true, alone: true }];
  }, [history.value, earlier.value, beside]);

  return (
    <>
      <Panel title={kinds[kind].name(full)} name="detail" class="owner-panel" error={data.error} loading={data.loading} actions={
        <a href={href('compare', { ...common(params), mode: 'periods', kind, ...labels })}>Compare</a>
      }>
        <Names s={s} kind={kind} labels={full}>
          <Parents s={s} kind={kind} labels={full} />
        </Names>
        {gone && seen.value !== undefined && (
          <p class="gone" role="status">
            {seen.value === null ? 'Nobody by these labels is in this history.' : `It is gone, or was not there yet: it was last seen ${clock(seen.value, 86400 * 2)}.`}
          </p>
        )}
        {rows.length > 1 && <p class="note">{rows.length} owners match this address; the figures are of all of them.</p>}
        <dl class="tiles">
          <Tile title={range.live ? 'Power now' : 'Power at the end'}>
            <Figure value={add(rows.map((r) => r.watts))} format={watts} estimated={guessed} />
          </Tile>
          <Tile title="Energy" note={joules !== null && of.get('idle') ? `${energy(of.get('idle') ?? 0)} of it idle` : undefined}>
            <Figure value={joules} format={energy} estimated={guessed} />
          </Tile>
          {grams !== null && (
            <Tile title="CO₂e">
              <Figure value={grams} format={mass} estimated={guessed} />
            </Tile>
          )}
          {money1.map((c) => (
            <Tile key={c} title="Cost">
              <Figure value={add(rows.map((r) => r.cost.get(c)))} format={(v) => money(v, c)} estimated={guessed} />
            </Tile>
          ))}
          <Tile title="Share of the machine">
            <Figure value={machine && joules !== null ? joules / machine : null} format={percent} estimated={guessed} />
            <Bar share={machine && joules !== null ? joules / machine : null} idle={machine ? (of.get('idle') ?? 0) / machine : 0} estimated={guessed} />
          </Tile>
          {withCPU.includes(kind) && (
            <>
              <Tile title="CPU time">
                <Figure value={cpu} format={(v) => scaled(v, 's')} />
              </Tile>
              <Tile title="Per CPU second" note="dynamic energy">
                <Figure value={cpu && of.get('dynamic') !== undefined ? of.get('dynamic')! / cpu : null} format={(v) => scaled(v, 'J')} estimated={guessed} />
              </Tile>
            </>
          )}
        </dl>
        {guessed && <p class="note">~ The machine’s {[...estimated].join(' and ')} {estimated.size > 1 ? 'are' : 'is'} estimated, and so is what this owner has of it.</p>}
      </Panel>
      <Panel title="Power" name="detail-power" error={history.error ?? earlier.error} loading={history.loading} actions={
        <label class="toggle">
          <input type="checkbox" checked={beside} onChange={(e) => navigate('detail', { ...params, before: e.currentTarget.checked ? '1' : undefined }, true)} /> the {formatDuration(range.seconds)} before
        </label>
      } table={history.value && (() => ({ columns: ['time', 'component', 'part', 'watts'], rows: (history.value ?? []).flatMap((x) => x.points.map(([t, v]) => [new Date(t * 1000).toISOString(), x.labels.component, x.labels.part, v])) }))}>
        {history.value && history.value.length === 0 ? (
          <Empty>It had no energy in this range.</Empty>
        ) : (
          <Chart label={`Power of ${kinds[kind].name(full)} over time, by component`} lines={lines} start={range.start} end={range.end} step={range.step} stacked format={watts} onSelect={(a, b) => s.setSpan(zoomed(a, b))} />
        )}
      </Panel>
      <div class="columns even">
        <Children s={s} kind={kind} labels={full} estimated={guessed} />
        {kinds[kind].co2e && grams !== null && <Grams s={s} kind={kind} m={m} />}
        <SCI s={s} labels={full} />
      </div>
    </>
  );
}

// mergeParts adds the series of several owners up, by component and part.
function mergeParts(list: Series[]): Series[] {
  const groups = new Map<string, Series[]>();
  for (const x of list) {
    const k = `${x.labels.component}/${x.labels.part}`;
    groups.set(k, [...(groups.get(k) ?? []), x]);
  }
  return [...groups.values()].map((g) => ({ labels: { component: g[0]!.labels.component ?? '', part: g[0]!.labels.part ?? '' }, points: sumOver(g) }));
}

const parentOf: Partial<Record<Kind, [Kind, string[]][]>> = {
  container: [['pod', ['namespace', 'pod', 'pod_uid']], ['namespace', ['namespace']]],
  pod: [['workload', ['namespace', 'workload_kind', 'workload']], ['namespace', ['namespace']]],
  workload: [['namespace', ['namespace']]],
};

function Parents({ s, kind, labels }: { s: Shared; kind: Kind; labels: Labels }) {
  const parents = (parentOf[kind] ?? []).flatMap(([k, names]) => {
    const own = Object.fromEntries(names.flatMap((n) => (labels[n] ? [[n, labels[n]]] : [])));
    const name = own[k === 'namespace' ? 'namespace' : k] ?? own.pod_uid;
    return name ? [{ k, own, name }] : [];
  });
  if (parents.length === 0) return null;
  return (
    <p class="parents">
      part of{' '}
      {parents.map((p, i) => (
        <span key={p.k}>
          {i > 0 && ' · '}
          {single[p.k].toLowerCase()} <a href={detailHref(p.k, p.own, common(s.route.params))}>{p.name}</a>
        </span>
      ))}
    </p>
  );
}

const childOf: Partial<Record<Kind, [Kind, string[]]>> = {
  namespace: ['workload', ['namespace']],
  workload: ['pod', ['namespace', 'workload_kind', 'workload']],
  pod: ['container', ['pod_uid', 'namespace', 'pod']],
};

function Children({ s, kind, labels, estimated }: { s: Shared; kind: Kind; labels: Labels; estimated: boolean }) {
  const child = childOf[kind];
  const own = Object.fromEntries((child?.[1] ?? []).flatMap((n) => (labels[n] ? [[n, labels[n]]] : [])));
  const m = child ? known(child[0] === 'pod' ? 'pod' : child[0], own) : [];
  const data = useData(child ? `children ${Object.values(own).join('/')} ${scopeKey(s)}` : '', async (signal): Promise<Row[]> => {
    if (!child) return [];
    const at = (expr: string) => query(expr, s.range.end, signal);
    const [joules, power] = await Promise.all([at(owners.joules(s, child[0], [], ...m)), at(owners.watts(s, child[0], [], ...m))]);
    return sorted(merge(child[0], { joules, watts: power }), (r) => r.joules, true);
  });
  if (!child) return null;
  const rows = data.value ?? [];
  const all = add(rows.map((r) => r.joules));
  const most = 100;
  return (
    <Panel title={kinds[child[0]].title} name="detail-children" error={data.error} loading={data.loading} table={data.value && (() => ({ columns: [...kinds[child[0]].labels, 'watts', 'joules'], rows: rows.map((r) => [...kinds[child[0]].labels.map((l) => r.labels[l]), r.watts, r.joules]) }))}>
      {data.value && rows.length === 0 ? (
        <Empty>None had energy in this range.</Empty>
      ) : (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col" class="n">Power</th>
                <th scope="col" class="n">Energy</th>
                <th scope="col" class="n">Share</th>
              </tr>
            </thead>
            <tbody>
              {rows.slice(0, most).map((r) => (
                <tr key={r.key}>
                  <td>
                    <a href={detailHref(child[0], r.labels, common(s.route.params))}>{r.name}</a>
                  </td>
                  <td class="n"><Figure value={r.watts} format={watts} estimated={estimated} /></td>
                  <td class="n"><Figure value={r.joules} format={energy} estimated={estimated} /></td>
                  <td class="n"><Figure value={all && r.joules !== null ? r.joules / all : null} format={percent} estimated={estimated} /></td>
                </tr>
              ))}
              {rows.length > most && (
                <tr>
                  <td>{number(rows.length - most)} more</td>
                  <td class="n"><Figure value={add(rows.slice(most).map((r) => r.watts))} format={watts} estimated={estimated} /></td>
                  <td class="n"><Figure value={add(rows.slice(most).map((r) => r.joules))} format={energy} estimated={estimated} /></td>
                  <td class="n" />
                </tr>
              )}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

function Grams({ s, kind, m }: { s: Shared; kind: Kind; m: string[] }) {
  const { range } = s;
  const data = useData(`detail grams ${scopeKey(s)}`, (signal) => queryRange(owners.gramsHistory(s, kind, ['phase'], ...m), range.start, range.end, range.step, signal));
  const lines = useMemo<Line[]>(() => {
    const phases = new Map<string, Series[]>();
    for (const x of data.value ?? []) phases.set(x.labels.phase ?? '', [...(phases.get(x.labels.phase ?? '') ?? []), x]);
    return [...phases].sort((a, b) => b[0].localeCompare(a[0])).map(([name, list], i) => ({ name, points: sumOver(list), color: i === 0 ? '--c3' : '--c4' }));
  }, [data.value]);
  return (
    <Panel title="CO₂e per hour" name="detail-co2e" error={data.error} loading={data.loading} table={data.value && (() => ({ columns: ['time', 'phase', 'grams_per_hour'], rows: (data.value ?? []).flatMap((x) => x.points.map(([t, v]) => [new Date(t * 1000).toISOString(), x.labels.phase, v])) }))}>
      <Chart label="Grams of CO2e per hour over time, by phase" lines={lines} start={range.start} end={range.end} step={range.step} stacked format={mass} height={180} onSelect={(a, b) => s.setSpan(zoomed(a, b))} />
    </Panel>
  );
}

// SCI shows the published scores whose tree is this owner's, or what it is part of.
function SCI({ s, labels }: { s: Shared; labels: Labels }) {
  const data = useData(`sci ${scopeKey(s)}`, async (signal) => {
    const [scores, windows] = await Promise.all([query(owner.sci(s), s.range.end, signal), query(owner.sciWindow(s), s.range.end, signal)]);
    return scores
      .filter((x) => matchesTree(x.labels, labels))
      .map((x) => ({ labels: x.labels, grams: x.points[0]![1], window: windows.find((w) => w.labels.manifest === x.labels.manifest && w.labels.path === x.labels.path)?.points[0]?.[1] ?? null }));
  });
  if (!data.error && !data.value?.length) return null;
  return (
    <Panel title="SCI" name="detail-sci" error={data.error} loading={data.loading} note="Published by noether impact, each of its own window.">
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Manifest</th>
              <th scope="col">Path</th>
              <th scope="col" class="n">CO₂e per unit</th>
              <th scope="col">Unit</th>
              <th scope="col" class="n">Window</th>
            </tr>
          </thead>
          <tbody>
            {(data.value ?? []).map((x) => (
              <tr key={`${x.labels.manifest}/${x.labels.path}`}>
                <td>{x.labels.manifest}</td>
                <td>{x.labels.path}</td>
                <td class="n"><Figure value={x.grams} format={mass} /></td>
                <td>{x.labels.functional_unit ?? '–'}</td>
                <td class="n">{x.window === null ? '–' : formatDuration(x.window)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function ProcessDetail({ s, labels }: { s: Shared; labels: Labels }) {
  const polled = useLive(s, true);
  const wanted = kinds.process.labels.filter((n) => labels[n]);
  const found = live.rows.find((r) => wanted.every((n) => r.labels[n] === labels[n]) && (labels.pid !== undefined || r.labels.pid === undefined));
  const estimated = total(s.now).estimated;
  const points = found ? live.points(found.key) : [];
  const end = live.time ?? s.range.end;
  const start = Math.min(points[0]?.[0] ?? end, end - 60);
  const lines = useMemo<Line[]>(() => [{ name: 'power', points, color: '--c1', dashed: estimated }], [polled.value, estimated]);
  const step = Math.max(1, Math.min(s.info.interval_seconds, 60));
  return (
    <>
      <Panel title={kinds.process.name(labels)} name="detail" class="owner-panel" error={polled.error} loading={polled.loading}>
        <Names s={s} kind="process" labels={found?.labels ?? labels} />
        {polled.value !== undefined && !found && (
          <p class="gone" role="status">
            It is not among the processes that the agent tells of now ({s.info.processes ?? 'not known'}): it has ended, or uses too little.
          </p>
        )}
        <dl class="tiles">
          <Tile title="Power now" note="dynamic">
            <Figure value={found?.watts} format={watts} estimated={estimated} />
          </Tile>
          <Tile title="Energy since its start" note={live.since !== null ? `or the agent’s, ${clock(live.since, 86400 * 2)}` : undefined}>
            <Figure value={found?.joules} format={energy} estimated={estimated} />
          </Tile>
          {(found?.parts ?? []).map((p) => (
            <Tile key={p.component} title={p.component}>
              <Figure value={p.watts} format={watts} estimated={estimated} />
            </Tile>
          ))}
          <Tile title="Share of the machine" note="of its power now">
            <Figure value={found && found.watts !== null && live.machine.watts ? found.watts / live.machine.watts : null} format={percent} estimated={estimated} />
          </Tile>
        </dl>
        {labels.container_id && (
          <p class="parents">
            in container <a href={detailHref('container', { container_id: labels.container_id }, common(s.route.params))}>{labels.container_id.slice(0, 12)}</a>
          </p>
        )}
      </Panel>
      <Panel title="Power" name="detail-power" note="Processes are in no history: this is what the page has seen since it was opened." table={() => ({ columns: ['time', 'watts'], rows: points.map(([t, v]) => [new Date(t * 1000).toISOString(), v]) })}>
        <Chart label="Power of this process since the page was opened" lines={lines} start={start} end={end} step={step} format={watts} />
      </Panel>
    </>
  );
}
