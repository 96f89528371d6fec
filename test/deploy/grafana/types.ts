// What the generated dashboards are held against: the types of @grafana/schema,
// with enums as the strings and numbers that JSON has.
import type { AnnotationQuery, Dashboard, DataQuery, FieldConfigSource, GraphFieldConfig, Panel, RowPanel, VariableModel } from '@grafana/schema';
import type { Options as StatOptions } from '@stat';
import type { Options as TableOptions } from '@table';
import type { Options as TextOptions } from '@text';
import type { Options as TimeSeriesOptions } from '@timeseries';

// Only objects and enums change; any and unknown stay what they are.
export type JSONOf<T> = 0 extends 1 & T ? T
  : unknown extends T ? T
  : T extends string ? `${T}`
  : T extends (infer E)[] ? JSONOf<E>[]
  : T extends object ? { [K in keyof T]: JSONOf<T[K]> }
  : T;

// Queries of Prometheus (public/app/plugins/datasource/prometheus, dataquery.cue).
interface Target extends DataQuery {
  expr: string;
  legendFormat?: string;
  format?: 'time_series' | 'table' | 'heatmap';
  instant?: boolean;
  range?: boolean;
}

type PanelOf<Type extends string, Options, Custom> = Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> & {
  type: Type;
  options: Options;
  fieldConfig: Omit<FieldConfigSource, 'defaults'> & { defaults: Omit<FieldConfigSource['defaults'], 'custom'> & { custom?: Custom } };
  targets: Target[];
};

export type TimeSeries = JSONOf<PanelOf<'timeseries', TimeSeriesOptions, GraphFieldConfig>>;
// Grafana 11.0 has no colour of a change to choose.
export type Stat = JSONOf<PanelOf<'stat', Omit<StatOptions, 'percentChangeColorMode'>, never>>;
// The table of Grafana 11 and later has no frame to choose where there is one.
export type Table = JSONOf<PanelOf<'table', Omit<TableOptions, 'frameIndex'>, never>>;
export type Text = JSONOf<Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> & { type: 'text'; options: TextOptions }>;
export type Row = JSONOf<RowPanel>;

// The text that Grafana shows of a variable's query is in no type.
export type Variable = JSONOf<VariableModel & { definition?: string }>;

// An annotation from Prometheus stands beside the fields of all of them
// (packages/grafana-prometheus/src/annotations.ts); one from Grafana's own
// annotations has a target.
export type Event = JSONOf<Omit<AnnotationQuery, 'target'> & {
  expr?: string; step?: string; titleFormat?: string; textFormat?: string; tagKeys?: string; useValueForTime?: boolean;
  target?: { type: 'tags'; tags: string[]; matchAny: boolean; limit: number };
}>;

export type Frame = JSONOf<Omit<Dashboard, 'panels' | 'templating' | 'annotations'>>;
