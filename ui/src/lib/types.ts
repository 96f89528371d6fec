// PageInfo is what the page needs to know about its server: GET api/noether/v1/page.
export interface PageInfo {
  version: string;
  // source says where history comes from: the agent's own store, a remote
  // Prometheus, or nowhere (reason then says why, and what to do).
  source: 'store' | 'prometheus' | 'none';
  reason?: string;
  backend?: string;
  node?: string;
  interval_seconds: number;
  step_seconds: number; // between two samples of one series
  long: { prefix: string; after_seconds: number; step_seconds: number } | null;
  retention_seconds: number | null;
  processes?: string;
  snapshot: boolean;
  check: boolean;
  forecast: boolean;
  now: number; // the server's clock, seconds since 1970
}

export type Labels = Record<string, string>;

// Point is a time in seconds since 1970 and a value; NaN never gets here.
export type Point = [time: number, value: number];

// Series is one line of an answer; one of an instant query has one point.
export interface Series {
  labels: Labels;
  points: Point[];
}
