import { describe, expect, it } from 'vitest';
import { common, href, parseRoute } from './route';

describe('routes', () => {
  it('come back as they went', () => {
    const params = { range: '24h', q: 'a&b=c #?/<b>', namespace: 'ü', path: '/' };
    expect(parseRoute(href('workloads', params))).toEqual({ path: 'workloads', params });
  });
  it('leave out what is empty', () => expect(href('flow', { a: '', b: undefined, c: null, d: '1' })).toBe('#/flow?d=1'));
  it.each([['', ''], ['#', ''], ['#/', ''], ['#overview', 'overview'], ['#/detail?x=1', 'detail']])('reads %j', (hash, path) => expect(parseRoute(hash).path).toBe(path));
  it('keeps what every view has in common', () => expect(common({ range: '1h', end: 'e', node: 'n', refresh: '5s', kind: 'pod' })).toEqual({ range: '1h', end: 'e', node: 'n', refresh: '5s' }));
});
