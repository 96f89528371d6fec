// Every query of the page. They are pure text made of a kind and a range, the
// same for an agent's own store and for a remote Prometheus; only the prefix of
// the five-minute copies differs, where the server has them.
import { kinds, type Kind } from './owners';
import type { Range } from './range';
import { formatDuration } from './range';
import type { Labels, PageInfo } from './types';

// Scope is what the queries of one view have in common.
export interface Scope {
  info: PageInfo;
  range: Range;
  node: string; // '' for all
}

const quote = (text: string): string => `"${text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`;

// regexp quotes text for a matcher: it stands for itself.
const regexp = (text: string): string => text.replace(/[\\^$.|?*+()[\]{}]/g, '\\$&');

// equal matches one value of a label.
export const equal = (label: string, value: string): string => `${label}=${quote(value)}`;

// oneOf matches any of the values.
export const oneOf = (label: string, values: string[]): string => `${label}=~${quote(values.map(regexp).join('|'))}`;

// selector is {…} with the node of the scope and what else must match.
export function selector(scope: Scope, ...matchers: (string | undefined)[]): string {
  const all = [scope.node ? equal('node', scope.node) : undefined, ...matchers].filter((m) => m);
  return all.length ? `{${all.join(',')}}` : '';
}

// metric is the name of a family without noether_, by the scope's resolution.
export function metric(scope: Scope, family: string, copied: boolean): string {
  return scope.range.long && scope.info.long && copied ? scope.info.long.prefix + family : `noether_${family}`;
}

const duration = (seconds: number): string => formatDuration(seconds);

const by = (labels: string[]): string => `by (${labels.join(', ')})`;

// The whole machine, or all machines.
export const node = {
  watts: (s: Scope): string => `sum by (component, part, quality) (noether_node_watts${selector(s)})`,
  errorWatts: (s: Scope): string => `sum by (component, bound) (noether_node_error_watts${selector(s)})`,
  quality: (s: Scope): string => `max by (component, quality) (noether_component_quality${selector(s)})`,
  // joules of the range, by component, part and quality
  joules: (s: Scope): string => `sum by (component, part, quality) (increase(${metric(s, 'node_joules_total', true)}${selector(s)}[${duration(s.range.seconds)}]))`,
  errorJoules: (s: Scope): string => `sum by (component, bound) (increase(${metric(s, 'node_error_joules_total', true)}${selector(s)}[${duration(s.range.seconds)}]))`,
  grams: (s: Scope): string => `sum by (phase) (increase(${metric(s, 'node_co2e_grams_total', true)}${selector(s)}[${duration(s.range.seconds)}]))`,
  cost: (s: Scope): string => `sum by (currency) (increase(${metric(s, 'node_energy_cost_total', true)}${selector(s)}[${duration(s.range.seconds)}]))`,
  credit: (s: Scope): string => `sum by (currency) (increase(${metric(s, 'node_energy_credit_total', true)}${selector(s)}[${duration(s.range.seconds)}]))`,
  // joules of each stretch of so many seconds, at its end
  joulesEach: (s: Scope, seconds: number): string => `sum(increase(${metric(s, 'node_joules_total', true)}${selector(s)}[${duration(seconds)}]))`,
  // 1 where any energy was counted in the stretch of so many seconds before
  present: (s: Scope, seconds: number): string => `max(present_over_time(${metric(s, 'node_joules_total', true)}${selector(s)}[${duration(seconds)}]))`,
  // watts over time, by component and part
  historyParts: (s: Scope): string => `sum by (component, part) (rate(${metric(s, 'node_joules_total', true)}${selector(s)}[${duration(s.range.window)}]))`,
  errorHistory: (s: Scope): string => `sum by (component, bound) (rate(${metric(s, 'node_error_joules_total', true)}${selector(s)}[${duration(s.range.window)}]))`,
  // watts at the end of the range, over the same time as those of owners
  power: (s: Scope): string => `sum(rate(noether_node_joules_total${selector(s)}[${duration(4 * s.info.step_seconds)}]))`,
  // watts over time, by component
  history: (s: Scope): string => `sum by (component) (rate(${metric(s, 'node_joules_total', true)}${selector(s)}[${duration(s.range.window)}]))`,
  gramsHistory: (s: Scope): string => `sum by (phase) (rate(${metric(s, 'node_co2e_grams_total', true)}${selector(s)}[${duration(s.range.window)}])) * 3600`,
  // what is paid less what is earned, an hour; each has the other beside it (docs/metrics.md)
  costHistory: (s: Scope): string => {
    const rate = (family: string): string => `sum by (currency) (rate(${metric(s, family, true)}${selector(s)}[${duration(s.range.window)}]))`;
    return `(${rate('node_energy_cost_total')} - ${rate('node_energy_credit_total')}) * 3600`;
  },
};

// Owners of one kind.
export const owners = {
  // joules of the range, by the kind's labels (and component or part, if asked)
  joules: (s: Scope, kind: Kind, extra: string[] = [], ...matchers: string[]): string =>
    `sum ${by([...kinds[kind].labels, ...extra])} (increase(${metric(s, `${kinds[kind].family}_joules_total`, kinds[kind].copied)}${selector(s, kinds[kind].where, ...matchers)}[${duration(s.range.seconds)}]))`,
  // watts at the end of the range
  watts: (s: Scope, kind: Kind, extra: string[] = [], ...matchers: string[]): string =>
    `sum ${by([...kinds[kind].labels, ...extra])} (rate(noether_${kinds[kind].family}_joules_total${selector(s, kinds[kind].where, ...matchers)}[${duration(4 * s.info.step_seconds)}]))`,
  grams: (s: Scope, kind: Kind, extra: string[] = [], ...matchers: string[]): string =>
    `sum ${by([...kinds[kind].labels, ...extra])} (increase(${metric(s, `${kinds[kind].family}_co2e_grams_total`, kinds[kind].copied)}${selector(s, kinds[kind].where, ...matchers)}[${duration(s.range.seconds)}]))`,
  cost: (s: Scope, kind: Kind, ...matchers: string[]): string =>
    `sum ${by([...kinds[kind].labels, 'currency'])} (increase(${metric(s, `${kinds[kind].family}_energy_cost_total`, kinds[kind].copied)}${selector(s, kinds[kind].where, ...matchers)}[${duration(s.range.seconds)}]))`,
  credit: (s: Scope, kind: Kind, ...matchers: string[]): string =>
    `sum ${by([...kinds[kind].labels, 'currency'])} (increase(${metric(s, `${kinds[kind].family}_energy_credit_total`, kinds[kind].copied)}${selector(s, kinds[kind].where, ...matchers)}[${duration(s.range.seconds)}]))`,
  // watts over time
  history: (s: Scope, kind: Kind, extra: string[] = [], ...matchers: string[]): string =>
    `sum ${by([...kinds[kind].labels, ...extra])} (rate(${metric(s, `${kinds[kind].family}_joules_total`, kinds[kind].copied)}${selector(s, kinds[kind].where, ...matchers)}[${duration(s.range.window)}]))`,
  gramsHistory: (s: Scope, kind: Kind, extra: string[] = [], ...matchers: string[]): string =>
    `sum ${by([...kinds[kind].labels, ...extra])} (rate(${metric(s, `${kinds[kind].family}_co2e_grams_total`, kinds[kind].copied)}${selector(s, kinds[kind].where, ...matchers)}[${duration(s.range.window)}])) * 3600`,
  costHistory: (s: Scope, kind: Kind, extra: string[] = [], ...matchers: string[]): string => {
    const rate = (money: string): string =>
      `sum ${by(['currency', ...extra])} (rate(${metric(s, `${kinds[kind].family}_energy_${money}_total`, kinds[kind].copied)}${selector(s, kinds[kind].where, ...matchers)}[${duration(s.range.window)}]))`;
    return `(${rate('cost')} - ${rate('credit')}) * 3600`;
  },
};

// The present names of families with the joules of owners, for a list of kinds that there are.
export const families = (s: Scope): string => selector(s, '__name__=~"noether_(namespace|workload|pod|container|vm|unit|session|process)_joules_total"');

// One owner, or all that match.
export const owner = {
  cpuSeconds: (s: Scope, kind: Kind, ...matchers: string[]): string => `sum(increase(noether_${kinds[kind].family}_cpu_seconds_total${selector(s, ...matchers)}[${duration(s.range.seconds)}]))`,
  // when it was last seen up to the end of the scope, within so many seconds
  lastSeen: (s: Scope, kind: Kind, within: number, ...matchers: string[]): string =>
    `max(max_over_time(timestamp(noether_${kinds[kind].family}_joules_total${selector(s, ...matchers)})[${duration(within)}:5m]))`,
  // scores of manifests that were published in the range, or in three hours
  sci: (s: Scope): string => `last_over_time(noether_impact_sci_grams[${duration(Math.max(s.range.seconds, 10800))}])`,
  sciWindow: (s: Scope): string => `last_over_time(noether_impact_window_seconds[${duration(Math.max(s.range.seconds, 10800))}])`,
};

// joulesByMeter tells which machines' meters, of which quality, a range rests on.
export const joulesByMeter = (s: Scope): string => `sum by (node, component, quality) (increase(${metric(s, 'node_joules_total', true)}${selector(s)}[${duration(s.range.seconds)}]))`;

// Only containers that are in no pod own their energy.
export const alone = 'pod_uid=""';

// exactly matches one owner by all labels that it has.
export const exactly = (kind: Kind, l: Labels): string[] => kinds[kind].labels.map((n) => equal(n, l[n] ?? ''));

export const grid = {
  now: (s: Scope): string => `noether_grid_carbon_intensity_grams_per_kwh${selector(s)}`,
  history: (s: Scope): string => `max by (grid_zone, provider, signal, factor, estimated) (noether_grid_carbon_intensity_grams_per_kwh${selector(s)})`,
  forecast: (s: Scope): string => `max by (grid_zone, horizon) (noether_grid_forecast_grams_per_kwh${selector(s)})`,
};

// What an agent says of itself.
export const agents = {
  // A history holds CPU time in steps of 8 ms, which is more than many ticks
  // take: over five minutes they are none of the figure.
  cpu: (s: Scope): string => `sum(rate(noether_tick_cpu_seconds_total${selector(s)}[${duration(Math.max(s.range.window, 300))}]))`,
  imbalance: (s: Scope): string => `max(abs(noether_imbalance_joules${selector(s)}))`,
  missed: (s: Scope): string => `sum(increase(noether_ticks_missed_total${selector(s)}[${duration(s.range.seconds)}]))`,
  dropped: (s: Scope): string => `sum(increase(noether_exits_dropped_total${selector(s)}[${duration(s.range.seconds)}]))`,
  started: (s: Scope): string => `max(noether_start_time_seconds${selector(s)})`,
  sensors: (s: Scope): string => `sum by (sensor, zone, socket, status) (noether_sensor_status${selector(s)})`,
  builds: (s: Scope): string => `count by (version) (noether_build_info${selector(s)})`,
  // Both sides of the books at one moment, each sum with its name in the label
  // side, and of how many series they are. A server reads each series of a sum,
  // and once more to count it: those of containers in pods are in neither.
  balance: (s: Scope): string =>
    [
      ['node', 'node_joules_total', undefined],
      ['pod', 'pod_joules_total', undefined],
      ['container', 'container_joules_total', alone],
      ['vm', 'vm_joules_total', undefined],
      ['unit', 'unit_joules_total', undefined],
      ['session', 'session_joules_total', undefined],
      ['system', 'system_joules_total', undefined],
      ['retired', 'retired_joules', undefined],
    ]
      .map(([side, family, where]) => `label_replace(sum(noether_${family}${selector(s, where)}), "side", "${side}", "", "")`)
      .concat(`label_replace(count(${selector(s, '__name__=~"noether_(node|pod|vm|unit|session|system)_joules_total"')} or noether_container_joules_total${selector(s, alone)}), "side", "series", "", "")`)
      .join(' or '),
};

export const nodes = 'group by (node) (noether_node_info)';

// Flow and carbon.

// Raw meters, which overlap.
export const zones = {
  joules: (s: Scope): string => `sum by (zone, socket, sensor) (increase(${metric(s, 'zone_joules_total', true)}${selector(s)}[${duration(s.range.seconds)}]))`,
};

// What grams are made of besides the intensity of the grid.
export const site = {
  updated: (s: Scope): string => `max by (grid_zone, provider, signal, factor, estimated) (noether_grid_carbon_intensity_updated_timestamp_seconds${selector(s)})`,
  // joules of the range that have no grams, because nobody knew the intensity
  unknown: (s: Scope): string => `sum(increase(noether_node_co2e_unknown_joules_total${selector(s)}[${duration(s.range.seconds)}]))`,
  sources: (s: Scope): string => `min by (source, grid_zone) (noether_site_source_up${selector(s)})`,
  embodied: (s: Scope): string => `sum by (source, estimated) (noether_node_embodied_grams${selector(s)})`,
  // grams an hour by which the making of the machines is spread
  embodiedRate: (s: Scope): string => `sum(sum by (node, instance) (noether_node_embodied_grams${selector(s)}) / on (node, instance) max by (node, instance) (noether_node_embodied_lifetime_seconds${selector(s)})) * 3600`,
  price: (s: Scope): string => `max by (currency) (noether_energy_price_per_kwh${selector(s)})`,
};

// first has a point where the history has one.
export const first = (s: Scope): string => `count(${metric(s, 'node_joules_total', true)}${selector(s)})`;
