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
  // watts over time, by component
  history: (s: Scope): string => `sum by (component) (rate(${metric(s, 'node_joules_total', true)}${selector(s)}[${duration(s.range.window)}]))`,
  gramsHistory: (s: Scope): string => `sum by (phase) (rate(${metric(s, 'node_co2e_grams_total', true)}${selector(s)}[${duration(s.range.window)}])) * 3600`,
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
};

// Only containers that are in no pod own their energy.
export const alone = 'pod_uid=""';

// exactly matches one owner by all labels that it has.
export const exactly = (kind: Kind, l: Labels): string[] => kinds[kind].labels.map((n) => equal(n, l[n] ?? ''));

export const grid = {
  now: (s: Scope): string => `noether_grid_carbon_intensity_grams_per_kwh${selector(s)}`,
  history: (s: Scope): string => `max by (grid_zone, provider, signal, factor, estimated) (noether_grid_carbon_intensity_grams_per_kwh${selector(s)})`,
  forecast: (s: Scope): string => `max by (grid_zone, horizon) (noether_grid_forecast_grams_per_kwh${selector(s)})`,
};

export const nodes = 'group by (node) (noether_node_info)';
