import { afterEach, describe, expect, it, vi } from 'vitest';
import { ApiError, decode, json, labelValues, query, queryRange } from './api';
import { again } from './data';
import { skewOf, wait } from './server';

afterEach(() => vi.unstubAllGlobals());

function answer(status: number, body: string): void {
  vi.stubGlobal('document', { baseURI: 'http://localhost/below/#/x' });
  vi.stubGlobal('fetch', vi.fn(async () => new Response(body, { status })));
}

const failure = async (p: Promise<unknown>): Promise<ApiError> => {
  try {
    await p;
  } catch (e) {
    if (e instanceof ApiError) return e;
    throw e;
  }
  throw new Error('it did not fail');
};

it('asks no address with a name and a password in it', async () => {
  answer(200, '{"status":"success","data":[]}');
  vi.stubGlobal('document', { baseURI: 'https://ada:secret@example.org/below/#/x' });
  await labelValues('node', '{}');
  expect(vi.mocked(fetch).mock.calls[0]?.[0]).toBe('https://example.org/below/api/v1/label/node/values?match[]=%7B%7D');
});

describe('decode', () => {
  it('reads the four types', () => {
    expect(decode({ resultType: 'vector', result: [{ metric: { a: 'b' }, value: [1, '2'] }] })).toEqual([{ labels: { a: 'b' }, points: [[1, 2]] }]);
    expect(decode({ resultType: 'matrix', result: [{ metric: {}, values: [[1, '2'], [2, '3e3']] }] })).toEqual([{ labels: {}, points: [[1, 2], [2, 3000]] }]);
    expect(decode({ resultType: 'scalar', result: [1, '2'] })).toEqual([{ labels: {}, points: [[1, 2]] }]);
    expect(decode({ resultType: 'string', result: [1, 'x'] })).toEqual([]);
  });
  it('leaves out what is no finite number', () => {
    expect(decode({ resultType: 'matrix', result: [{ metric: {}, values: [[1, 'NaN'], [2, '+Inf'], [3, '-Inf'], [4, ''], [5, 'x'], [6, '0x'], [7, '1']] }] })).toEqual([{ labels: {}, points: [[7, 1]] }]);
    expect(decode({ resultType: 'vector', result: [{ metric: {}, value: [1, 'NaN'] }] })).toEqual([]);
  });
  it.each([
    [{ resultType: 'vector', result: [null, 1, 'x', [], { metric: null }, { value: 'x' }, { metric: [], value: [1] }, { value: ['1', '2'] }] }],
    [{ resultType: 'matrix', result: [{ metric: {}, values: null }, { values: [null, 1, [], [1], [1, 2]] }, { histograms: [[1, {}]] }] }],
    [{ resultType: 'scalar', result: [] }],
    [{ resultType: 'else', result: [] }],
  ])('finds nothing in %j', (data) => expect(decode(data)).toEqual([]));
  it('keeps labels that are text, whatever they say', () =>
    expect(decode({ resultType: 'vector', result: [{ metric: { comm: '<img src=x onerror=alert(1)>', n: 1, __proto__x: 'y' }, value: [1, '1'] }] })[0]!.labels).toEqual({ comm: '<img src=x onerror=alert(1)>', __proto__x: 'y' }));
  it.each([[null], [undefined], [[]], ['text'], [{}], [{ result: {} }]])('refuses %j', (data) => expect(() => decode(data)).toThrow(ApiError));
});

describe('an answer', () => {
  it('goes below the path of the page, as a form', async () => {
    answer(200, '{"status":"success","data":{"resultType":"vector","result":[]}}');
    await query('up', 1.5);
    const [url, init] = vi.mocked(fetch).mock.calls[0]!;
    expect(url).toBe('http://localhost/below/api/v1/query');
    expect(String(init?.body)).toBe('query=up&time=1.500');
  });
  it('of a range is at multiples of the step', async () => {
    answer(200, '{"status":"success","data":{"resultType":"matrix","result":[]}}');
    await queryRange('up', 101, 200, 15);
    expect(String(vi.mocked(fetch).mock.calls[0]![1]?.body)).toBe('query=up&start=105.000&end=200.000&step=15');
    await queryRange('up', 101, 102, 15);
    expect(vi.mocked(fetch).mock.calls).toHaveLength(1);
  });
  it.each([
    [422, '{"status":"error","errorType":"execution","error":"too many samples"}', 'execution', 'too many samples'],
    [400, '{"status":"error","errorType":"bad_data","error":"parse error"}', 'bad_data', 'parse error'],
    [503, '{"status":"error","errorType":"timeout","error":"slow"}', 'timeout', 'slow'],
    [503, 'the history is being opened', 'unavailable', 'the history is being opened'],
    [502, '<html><body>Bad gateway</body></html>', 'unavailable', 'The server answered 502 and no JSON.'],
    [401, '', 'forbidden', 'The server answered 401 and no JSON.'],
    [200, 'null', 'other', 'The server answered 200.'],
    [500, '{"status":"error","error":{"x":1}}', 'other', 'The server answered 500.'],
  ])('of %d %s is said in place', async (status, body, kind, message) => {
    answer(status, body);
    expect(await failure(query('up', 1))).toMatchObject({ kind, message, status });
  });
  it('that never comes is of the network', async () => {
    answer(200, '');
    vi.stubGlobal('fetch', vi.fn(async () => Promise.reject(new TypeError('failed'))));
    expect((await failure(query('up', 1))).kind).toBe('network');
  });
  it('of documents is their error, or their sentence', async () => {
    answer(404, 'nobody knows the grid zone');
    expect(await failure(json('api/noether/v1/forecast'))).toMatchObject({ message: 'nobody knows the grid zone', status: 404 });
    answer(200, '{');
    expect((await failure(json('api/noether/v1/check'))).message).toContain('is no JSON');
  });
  it('of label values has only text', async () => {
    answer(200, '{"status":"success","data":["a",1,null,"b"]}');
    expect(await labelValues('node', 'up')).toEqual(['a', 'b']);
    answer(200, '{"status":"success"}');
    expect(await labelValues('node', 'up')).toEqual([]);
  });
});

describe('patience', () => {
  it('tries again what may come back, ever more slowly', () => {
    expect([1, 2, 3, 9].map((n) => again(new ApiError('unavailable', ''), n))).toEqual([2000, 4000, 8000, 15000]);
    expect(again(new ApiError('bad_data', ''), 1)).toBeNull();
    expect([0, 1, 2, 20].map(wait)).toEqual([15000, 1000, 2000, 15000]);
  });
  it('knows how far the clocks are apart', () => expect(skewOf(1000, 899, 901)).toBe(100));
});
