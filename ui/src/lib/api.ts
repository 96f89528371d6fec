// Talks to the server below the page's own address. Everything is read only.
import type { Labels, PageInfo, Point, Series } from './types';

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

// at is the address of a path. One that the page was opened by may hold a name
// and a password (https://user:password@host/): the browser knows them by now,
// and fetch refuses addresses with them (fetch.spec.whatwg.org, Request).
function at(path: string): string {
  const url = new URL(path, document.baseURI.replace(/#.*$/, ''));
  url.username = '';
  url.password = '';
  return url.href;
}

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

// said is what a server says of its trouble, cut to what people read. A page of
// HTML is what a proxy in between answers: its text helps nobody.
const said = (status: number, text: string): string => (/^\s*</.test(text) || text.trim() === '' ? `The server answered ${status} and no JSON.` : text.trim().slice(0, 300));

function open(status: number, text: string): unknown {
  let envelope: unknown;
  try {
    envelope = JSON.parse(text);
  } catch {
    throw new ApiError(trouble(status, ''), said(status, text), status);
  }
  const { status: word, data, errorType, error } = (isObject(envelope) ? envelope : {}) as Partial<Envelope>;
  if (word !== 'success') {
    throw new ApiError(trouble(status, errorType ?? ''), typeof error === 'string' && error ? error.slice(0, 1000) : `The server answered ${status}.`, status);
  }
  return data;
}

// What a server sends is not trusted: what is not of the shape that the
// Prometheus API documents is left out, or is an error if nothing of it is.
const isObject = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);

function points(values: unknown): Point[] {
  const out: Point[] = [];
  if (!Array.isArray(values)) return out;
  for (const v of values as unknown[]) {
    if (!Array.isArray(v) || typeof v[0] !== 'number' || typeof v[1] !== 'string' || v[1] === '') continue;
    const value = Number(v[1]);
    if (Number.isFinite(v[0]) && Number.isFinite(value)) out.push([v[0], value]);
  }
  return out;
}

function labels(metric: unknown): Labels {
  if (!isObject(metric)) return {};
  return Object.fromEntries(Object.entries(metric).filter((e): e is [string, string] => typeof e[1] === 'string'));
}

// decode turns the data of an answer into series, in the order of the answer.
// Values that are no finite numbers are left out, and series without any.
export function decode(data: unknown): Series[] {
  if (!isObject(data) || !Array.isArray(data.result)) throw new ApiError('other', 'The answer is none of the Prometheus API: it has no result. Is the address right?');
  const result = data.result as unknown[];
  switch (data.resultType) {
    case 'vector':
      return result
        .filter(isObject)
        .map((r) => ({ labels: labels(r.metric), points: points([r.value]) }))
        .filter((s) => s.points.length > 0);
    case 'matrix':
      return result
        .filter(isObject)
        .map((r) => ({ labels: labels(r.metric), points: points(r.values) }))
        .filter((s) => s.points.length > 0);
    case 'scalar':
      return [{ labels: {}, points: points([result]) }].filter((s) => s.points.length > 0);
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

// queryRange evaluates expr at the multiples of step from start to end, so that
// the points of a chart stay where they are when it is asked again.
export async function queryRange(expr: string, start: number, end: number, step: number, signal?: AbortSignal): Promise<Series[]> {
  const first = Math.ceil(start / step) * step;
  if (first > end) return [];
  const { status, text } = await fetchText('api/v1/query_range', form({ query: expr, start: first.toFixed(3), end: end.toFixed(3), step: String(step) }, signal));
  return decode(open(status, text));
}

// labelValues lists the values of a label among the series of match, of those
// that have samples between two times if these are given.
export async function labelValues(label: string, match: string, signal?: AbortSignal, between?: { start: number; end: number }): Promise<string[]> {
  const time = between ? `&start=${between.start.toFixed(3)}&end=${between.end.toFixed(3)}` : '';
  const { status, text } = await fetchText(`api/v1/label/${label}/values?match[]=${encodeURIComponent(match)}${time}`, signal ? { signal } : {});
  const values = open(status, text);
  return Array.isArray(values) ? values.filter((v): v is string => typeof v === 'string') : [];
}

// json reads one of the documents of Noether's own.
export async function json<T>(path: string, signal?: AbortSignal): Promise<T> {
  const { status, text } = await fetchText(path, signal ? { signal } : {});
  if (status !== 200) {
    let message = said(status, text);
    try {
      const { error } = JSON.parse(text) as Partial<Envelope>;
      if (typeof error === 'string' && error) message = error.slice(0, 1000);
    } catch {
      // it is a sentence already
    }
    throw new ApiError(trouble(status, ''), message, status);
  }
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new ApiError('other', `The answer of ${path} is no JSON.`, status);
  }
}

export const pageInfo = (signal?: AbortSignal): Promise<PageInfo> => json<PageInfo>('api/noether/v1/page', signal);
