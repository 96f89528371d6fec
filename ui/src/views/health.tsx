import { useMemo } from 'preact/hooks';
import { scopeKey, useShared } from '../context';
import { json, query, queryRange } from '../lib/api';
import { useData } from '../lib/data';
import { bytes, clock, energy, number, percent, scaled } from '../lib/format';
import { balanceOf, booksOf, mood, order, type Check, type Totals, type Verdict } from '../lib/health';
import { agents } from '../lib/queries';
import { zoomed } from '../lib/time';
import { Chart, type Line } from '../parts/Chart';
import { Copy } from '../parts/Copy';
import { Figure } from '../parts/Figure';
import { Empty, Panel } from '../parts/Panel';
import './health.css';

const first = (series: { points: [number, number][] }[]): number | null => series[0]?.points[0]?.[1] ?? null;

export function Health() {
  const { info } = useShared();
  return (
    <>
      {info.check ? <Checked /> : info.source !== 'none' ? <SensorsFar /> : null}
      {info.source !== 'none' && (
        <div class="columns even">
          <Cost />
          <Books />
        </div>
      )}
      {info.source === 'none' && info.snapshot && <Books />}
    </>
  );
}

function Status({ status }: { status: string }) {
  return <span class={`status ${mood(status)}`}>{status}</span>;
}

function Verdicts({ title, list, none }: { title: string; list: Verdict[]; none: string }) {
  return (
    <section class="verdicts" aria-label={title}>
      <h3>{title}</h3>
      {list.length === 0 ? (
        <Empty>{none}</Empty>
      ) : (
        <ul>
          {order(list).map((v, i) => (
            <li key={`${v.name}/${i}`} class={v.chosen ? 'chosen' : ''}>
              <span class="verdict-name">{v.name}</span>
              <Status status={v.status} />
              <span class="verdict-why">
                {v.chosen && !v.reason?.startsWith('in use') && <span class="in-use">in use</span>}
                {v.reason}
                {v.remedy?.split('\n').map((line) => <Copy key={line} text={line.trim()} />)}
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

const lists = [
  ['sensors', 'Sensors', 'There is no sensor.'],
  ['usage', 'Who ran', 'Nothing tells who ran.'],
  ['names', 'Names of pods and containers', 'Nobody is asked for names: containers show by their ids.'],
  ['site', 'Grid, price, PUE', 'Nobody is asked for the intensity of the grid or a price: set --grid.zone or --price.per-kwh.'],
] as const;

// Checked is what the agent itself says.
function Checked() {
  const s = useShared();
  // It is of now, whatever the range: it moves on with each refresh.
  const data = useData(`check ${s.now?.time ?? 0}/${s.round}`, (signal) => json<Check>('api/noether/v1/check', signal));
  const c = data.value;
  const a = c?.agent ?? {};
  const st = c?.store;
  return (
    <>
      <Panel
        title="What works here"
        name="check"
        error={data.error}
        loading={data.loading && !c}
        table={c ? () => ({ columns: ['about', 'name', 'status', 'in use', 'reason', 'remedy'], rows: lists.flatMap(([key, title]) => (c[key] ?? []).map((v) => [title, v.name, v.status, v.chosen ? 'yes' : 'no', v.reason, v.remedy])) }) : undefined}
        note="By the running agent. On the machine, noether check also tries what the agent does not use."
      >
        {c && (
          <div class="checks">
            {lists.map(([key, title, none]) => (
              <Verdicts key={key} title={title} list={c[key] ?? []} none={none} />
            ))}
          </div>
        )}
      </Panel>
      {c && (
        <Panel
          title="The agent now"
          name="agent"
          table={() => ({
            columns: ['figure', 'value'],
            rows: [
              ['usage', a.usage],
              ['policy', a.policy],
              ['work of the last tick, s', a.tick_seconds],
              ['CPU time of all ticks, s', a.tick_cpu_seconds],
              ['resident memory, bytes', a.rss_bytes],
              ['imbalance, J', a.imbalance_joules],
              ['ticks missed', a.missed_ticks],
              ['exits dropped', a.dropped_exits],
              ['history', st?.state],
              ['series', st?.series],
              ['history on disk, bytes', st?.bytes],
              ['oldest sample', st?.oldest],
              ['newest sample', st?.newest],
            ],
          })}
        >
          <dl class="facts">
            <Fact name="Who ran, by">{a.usage ?? '–'}</Fact>
            <Fact name="Divided by policy">{a.policy ?? '–'}</Fact>
            <Fact name="Work of the last tick">
              <Figure value={a.tick_seconds} format={(v) => scaled(v, 's')} />
            </Fact>
            <Fact name="Memory">
              <Figure value={a.rss_bytes} format={bytes} exact={(v) => `${v} bytes`} />
            </Fact>
            <Fact name="Ticks missed" bad={(a.missed_ticks ?? 0) > 0}>
              <Figure value={a.missed_ticks} format={String} />
            </Fact>
            <Fact name="Ended processes not told" bad={(a.dropped_exits ?? 0) > 0}>
              <Figure value={a.dropped_exits} format={String} />
            </Fact>
            <Fact name="Imbalance since its start" bad={(a.imbalance_joules ?? 0) !== 0}>
              <Figure value={a.imbalance_joules} format={(v) => `${v} J`} />
            </Fact>
            {st && (
              <>
                <Fact name="History">
                  <Status status={st.state ?? 'cannot tell'} />
                  {st.reason && ` ${st.reason}`}
                  {st.remedy && <Copy text={st.remedy} />}
                </Fact>
                <Fact name="History on disk">
                  <Figure value={st.state === 'off' ? null : st.bytes} format={bytes} exact={(v) => `${v} bytes`} />
                </Fact>
                <Fact name="Series">
                  <Figure value={st.state === 'off' ? null : st.series} format={number} />
                </Fact>
                {st.oldest && <Fact name="Oldest sample">{clock(Date.parse(st.oldest) / 1000, 2 * 86400)}</Fact>}
                {st.aside?.map((x) => (
                  <Fact key={x.path} name="Put aside" bad>
                    {x.path}: {x.reason}
                  </Fact>
                ))}
              </>
            )}
          </dl>
        </Panel>
      )}
    </>
  );
}

function Fact({ name, bad = false, children }: { name: string; bad?: boolean; children: preact.ComponentChildren }) {
  return (
    <div class={bad ? 'bad' : ''}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

// SensorsFar is what a remote Prometheus knows of the agents' sensors.
function SensorsFar() {
  const s = useShared();
  const data = useData(`sensors ${scopeKey(s)}`, async (signal) => {
    const [sensors, builds] = await Promise.all([query(agents.sensors(s), s.range.end, signal), query(agents.builds(s), s.range.end, signal)]);
    return { sensors: sensors.sort((a, b) => (a.labels.sensor ?? '').localeCompare(b.labels.sensor ?? '') || (a.labels.zone ?? '').localeCompare(b.labels.zone ?? '')), builds };
  });
  const v = data.value;
  return (
    <Panel
      title="Sensors"
      name="sensors"
      error={data.error}
      loading={data.loading}
      table={v?.sensors.length ? () => ({ columns: ['sensor', 'zone', 'socket', 'status', 'machines'], rows: v.sensors.map((x) => [x.labels.sensor, x.labels.zone, x.labels.socket, x.labels.status, x.points[0]![1]]) }) : undefined}
      note="As the agents export it. Reasons and remedies: noether check, on the machine."
    >
      {v && v.sensors.length === 0 && <Empty>No agent said anything of its sensors at the end of this range. Is noether scraped by this Prometheus?</Empty>}
      {v && v.sensors.length > 0 && (
        <div class="scroll" tabIndex={0} role="group" aria-label="Table, which may be wider than the screen">
          <table>
            <thead>
              <tr>
                <th scope="col">Sensor</th>
                <th scope="col">Zone</th>
                <th scope="col">Socket</th>
                <th scope="col">Status</th>
                <th scope="col" class="n">
                  Machines
                </th>
              </tr>
            </thead>
            <tbody>
              {v.sensors.map((x) => (
                <tr key={JSON.stringify(x.labels)}>
                  <td>{x.labels.sensor}</td>
                  <td>{x.labels.zone}</td>
                  <td>{x.labels.socket}</td>
                  <td>
                    <Status status={x.labels.status ?? 'cannot tell'} />
                  </td>
                  <td class="n">{number(x.points[0]![1])}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {v && v.builds.length > 0 && <p class="note">Agents: {v.builds.map((b) => `${number(b.points[0]![1])} of version ${b.labels.version ?? 'unknown'}`).join(', ')}.</p>}
    </Panel>
  );
}

// Cost is what measuring itself costs.
function Cost() {
  const s = useShared();
  const { range } = s;
  const data = useData(`cost ${scopeKey(s)}`, async (signal) => {
    const [cpu, missed, dropped] = await Promise.all([queryRange(agents.cpu(s), range.start, range.end, range.step, signal), query(agents.missed(s), range.end, signal), query(agents.dropped(s), range.end, signal)]);
    return { range, cpu: cpu[0]?.points ?? [], missed: first(missed), dropped: first(dropped) };
  });
  const v = data.value;
  const lines = useMemo<Line[]>(() => (v?.cpu.length ? [{ name: 'ticks, of one core', points: v.cpu }] : []), [v]);
  const shown = v?.range ?? range;
  const mean = v?.cpu.length ? v.cpu.reduce((sum, [, x]) => sum + x, 0) / v.cpu.length : null;
  return (
    <Panel
      title="What measuring costs"
      name="agent-cost"
      error={data.error}
      loading={data.loading}
      table={v?.cpu.length ? () => ({ columns: ['time', 'cores'], rows: v.cpu.map(([t, x]) => [new Date(t * 1000).toISOString(), x]) }) : undefined}
      note="CPU time of the ticks: reading, dividing and naming. Scrapes, queries and this page are besides."
    >
      {v && !v.cpu.length ? (
        <Empty>No agent told of its own cost in this range.</Empty>
      ) : (
        <>
          <dl class="facts">
            <Fact name="CPU, mean">
              <Figure value={mean} format={ofCore} /> of a core
            </Fact>
            <Fact name="Ticks missed" bad={(v?.missed ?? 0) >= 0.5}>
              <Figure value={v?.missed} format={(x) => number(Math.round(x))} />
            </Fact>
            <Fact name="Ended processes not told" bad={(v?.dropped ?? 0) >= 0.5}>
              <Figure value={v?.dropped} format={(x) => number(Math.round(x))} />
            </Fact>
          </dl>
          <Chart label="CPU that the ticks took, over time" lines={lines} start={shown.start} end={shown.end} step={shown.step} format={ofCore} height={160} onSelect={(a, b) => s.setSpan(zoomed(a, b))} />
        </>
      )}
    </Panel>
  );
}

const ofCore = (cores: number): string => percent(cores);

function Terms({ whole, terms, difference, balanced }: { whole: number; terms: { name: string; joules: number }[]; difference: number; balanced: boolean }) {
  const exact = (j: number): string => `${j.toFixed(6)} J`;
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="Table, which may be wider than the screen">
      <table class="equation">
        <tbody>
          <tr>
            <td class="sign" />
            <th scope="row">the machine</th>
            <td class="n">{exact(whole)}</td>
            <td class="n">{energy(whole)}</td>
          </tr>
          {terms.map((t, i) => (
            <tr key={t.name}>
              <td class="sign">{i === 0 ? '=' : t.joules < 0 ? '−' : '+'}</td>
              <th scope="row">{t.name}</th>
              <td class="n">{exact(Math.abs(t.joules))}</td>
              <td class="n">{energy(Math.abs(t.joules))}</td>
            </tr>
          ))}
          <tr class={balanced ? 'good' : 'bad'}>
            <td class="sign">{balanced ? '✓' : '≠'}</td>
            <th scope="row">difference</th>
            <td class="n">{balanced ? '0 J' : exact(difference)}</td>
            <td />
          </tr>
        </tbody>
      </table>
    </div>
  );
}

// Books shows both sides of the balance: of an agent out of its own snapshot,
// which is exact, of others over the range, out of the history.
function Books() {
  const s = useShared();
  const { range } = s;
  const own = s.info.snapshot && (!s.node || s.node === s.info.node);
  const data = useData(`books ${own} ${scopeKey(s)}`, async (signal) => {
    if (own) {
      const snapshot = await json<Totals>('api/noether/v1/snapshot', signal);
      return { balance: booksOf(snapshot), imbalance: snapshot.self?.imbalance_joules ?? null };
    }
    const at = Math.max(range.start, 0);
    const [end, start, started, imbalance] = await Promise.all([
      query(agents.balance(s), range.end, signal),
      query(agents.balance(s), at, signal),
      query(agents.started(s), range.end, signal),
      query(agents.imbalance(s), range.end, signal),
    ]);
    return { balance: balanceOf(end, start, first(started), at), imbalance: first(imbalance) };
  });
  const b = data.value?.balance;
  return (
    <Panel
      title="The books"
      name="balance"
      error={data.error}
      loading={data.loading}
      table={b ? () => ({ columns: ['side', 'joules'], rows: [['machine', b.whole], ...b.terms.map((t) => [t.name, t.joules]), ['difference', b.difference]] }) : undefined}
      note={b && (b.since ? `Since the agent started, ${clock(b.since, 2 * 86400)}.` : 'Over the range.')}
    >
      {data.value && !b && <Empty>Nothing is known at the end of this range.</Empty>}
      {b && <Terms {...b} />}
      {data.value && (
        <p class="note">
          The agent's own count: imbalance <Figure value={data.value.imbalance} format={(v) => `${v} J`} />.
          {((b && !b.balanced) || (data.value.imbalance ?? 0) !== 0) && ' Every joule has one owner: anything but 0 is a fault of noether, please report it with the file that JSON gives.'}
        </p>
      )}
    </Panel>
  );
}
