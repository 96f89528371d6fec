// Who pays for energy. Each joule of a machine is in exactly one of pod,
// container without pod, vm, unit, session and system; namespace and workload
// are views of the pods.
import type { Labels } from './types';

export type Kind = 'namespace' | 'workload' | 'pod' | 'container' | 'vm' | 'unit' | 'session' | 'system' | 'process';

export interface KindInfo {
  title: string;
  family: string; // noether_FAMILY_joules_total
  labels: string[]; // that tell one from another
  where?: string; // a matcher that belongs to the kind
  copied: boolean; // it is among the five-minute copies
  co2e: boolean;
  cost: boolean;
  name: (l: Labels) => string;
}

const or = (...names: (string | undefined)[]): string => names.find((n) => n) ?? 'unnamed';
const short = (id: string | undefined): string | undefined => id?.slice(0, 12);

export const kinds: Record<Kind, KindInfo> = {
  namespace: { title: 'Namespaces', family: 'namespace', labels: ['namespace'], copied: true, co2e: true, cost: true, name: (l) => or(l.namespace) },
  workload: { title: 'Workloads', family: 'workload', labels: ['namespace', 'workload_kind', 'workload'], copied: true, co2e: true, cost: true, name: (l) => or(l.workload) },
  pod: { title: 'Pods', family: 'pod', labels: ['namespace', 'pod', 'pod_uid', 'workload_kind', 'workload'], copied: true, co2e: true, cost: true, name: (l) => or(l.pod, l.pod_uid) },
  container: { title: 'Containers', family: 'container', labels: ['namespace', 'pod', 'pod_uid', 'container', 'container_id', 'runtime'], copied: true, co2e: true, cost: false, name: (l) => or(l.container, short(l.container_id)) },
  vm: { title: 'Virtual machines', family: 'vm', labels: ['vm', 'hypervisor'], copied: true, co2e: true, cost: false, name: (l) => or(l.vm) },
  unit: { title: 'System units', family: 'unit', labels: ['unit'], copied: true, co2e: true, cost: false, name: (l) => or(l.unit) },
  session: { title: 'User sessions', family: 'session', labels: ['user'], copied: true, co2e: true, cost: false, name: (l) => or(l.user) },
  system: { title: 'System', family: 'system', labels: ['account'], copied: true, co2e: true, cost: false, name: (l) => or(l.account) },
  process: { title: 'Processes', family: 'process', labels: ['pid', 'comm', 'container_id'], copied: false, co2e: false, cost: false, name: (l) => or(l.comm) },
};

// key tells two owners of a kind apart, and is the same for all their series.
export const key = (kind: Kind, l: Labels): string => kinds[kind].labels.map((n) => l[n] ?? '').join('\u0000');
