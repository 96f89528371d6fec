// Talks to the server below the page's own address. Everything is read only.
import type { PageInfo, Point, Series } from './types';

export type Trouble =
  | 'network' // nothing answers
  | 'unavailable' // the store is loading, there is none, or the server behind is down
  | 'bad_data' // the query is wrong
  | 'execution' // the query asks for too much, or fails
  | 'timeout'
  | 'forbidden' // credentials or the host name
  | 'other';

// ApiError is what a panel shows in place of its figures.
export class ApiError extends Error {
  constructor(
    readonly kind: Trouble,
    message: string,
    readonly status = 0,
  ) {
    super(message);
  }
}

const at = (path: string): string => new URL(path, document.baseURI.replace(/#.*$/, '')).href;

function trouble(status: number, errorType: string): Trouble {
  if (status === 401 || status === 403) return 'forbidden';
  if (errorType === 'timeout' || errorType === 'canceled') return 'timeout';
  if (errorType === 'bad_data') return 'bad_data';
  if (errorType === 'execution') return 'execution';
  if (errorType === 'unavailable' || status === 502 || status === 503 || status === 504) return 'unavailable';
  return 'other';
}

async function fetchText(path: string, init: RequestInit): Promise<{ status: number; text: string }> {
  try {
    const response = await fetch(at(path), { credentials: 'same-origin', cache: 'no-store', ...init });
    return { status: response.status, text: await response.text() };
  } catch (e) {
    if (e instanceof DOMException && e.name === 'AbortError') throw e;
    throw new ApiError('network', 'Nothing answers at this address: is noether still running?');
  }
}

interface Envelope {
  status: 'success' | 'error';
  data?: unknown;
  errorType?: string;
  error?: string;
}

function open(status: number, text: string): unknown {
  let envelope: Envelope;
  try {
    envelope = JSON.parse(text) as Envelope;
  } catch {
    throw new ApiError(trouble(status, ''), text.trim().slice(0, 300) || `The server answered ${status} and no JSON.`, status);
  }
  if (envelope.status !== 'success') {
    throw new ApiError(trouble(status, envelope.errorType ?? ''), envelope.error ?? `The server answered ${status}.`, status);
  }
  return envelope.data;
}

function points(values: unknown[]): Point[] {
  const out: Point[] = [];
  for (const v of values as [number, string][]) {
    const value = Number(v[1]);
    if (Number.isFinite(value)) out.push([v[0], value]);
  }
  return out;
}

interface Raw {
  resultType: 'vector' | 'matrix' | 'scalar' | 'string';
  result: unknown;
}

// decode turns the data of an answer into series, in the order of the answer.
// Values that are no finite numbers are left out, and series without any.
export function decode(data: unknown): Series[] {
  const { resultType, result } = data as Raw;
  switch (resultType) {
    case 'vector':
      return (result as { metric: Record<string, string>; value: [number, string] }[])
        .map((r) => ({ labels: r.metric, points: points([r.value]) }))
        .filter((s) => s.points.length > 0);
    case 'matrix':
      return (result as { metric: Record<string, string>; values: [number, string][] }[])
        .map((r) => ({ labels: r.metric, points: points(r.values ?? []) }))
        .filter((s) => s.points.length > 0);
    case 'scalar':
      return [{ labels: {}, points: points([result]) }];
    default:
      return [];
  }
}

const form = (values: Record<string, string>, signal?: AbortSignal): RequestInit => ({
  method: 'POST',
  body: new URLSearchParams(values),
  ...(signal ? { signal } : {}),
});

// query evaluates expr at one time, in seconds since 1970.
export async function query(expr: string, time: number, signal?: AbortSignal): Promise<Series[]> {
  const { status, text } = await fetchText('api/v1/query', form({ query: expr, time: time.toFixed(3) }, signal));
  return decode(open(status, text));
}

// queryRange evaluates expr every step seconds from start to end.
export async function queryRange(expr: string, start: number, end: number, step: number, signal?: AbortSignal): Promise<Series[]> {
  const { status, text } = await fetchText('api/v1/query_range', form({ query: expr, start: start.toFixed(3), end: end.toFixed(3), step: String(step) }, signal));
  return decode(open(status, text));
}

// labelValues lists the values of a label among the series of match.
export async function labelValues(label: string, match: string, signal?: AbortSignal): Promise<string[]> {
  const { status, text } = await fetchText(`api/v1/label/${label}/values?match[]=${encodeURIComponent(match)}`, signal ? { signal } : {});
  return open(status, text) as string[];
}

// json reads one of the documents of Noether's own.
export async function json<T>(path: string, signal?: AbortSignal): Promise<T> {
  const { status, text } = await fetchText(path, signal ? { signal } : {});
  if (status !== 200) {
    let message = text.trim().slice(0, 300);
    try {
      message = (JSON.parse(text) as Envelope).error ?? message;
    } catch {
      // it is a sentence already
    }
    throw new ApiError(trouble(status, status === 404 ? 'other' : ''), message || `The server answered ${status}.`, status);
  }
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new ApiError('other', `The answer of ${path} is no JSON.`, status);
  }
}

export const pageInfo = (signal?: AbortSignal): Promise<PageInfo> => json<PageInfo>('api/noether/v1/page', signal);
