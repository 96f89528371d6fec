import { describe, expect, it } from 'vitest';
import { before, formatDuration, parseDuration, parseSpan, resolve, settled } from './range';
import { back, between, formatRefresh, forward, fromLocal, local, parseRefresh, spanName, wider, zoomed } from './time';
import type { PageInfo } from './types';

const info: PageInfo = {
  version: '1', source: 'store', interval_seconds: 5, step_seconds: 15, long: { prefix: 'noether:5m:', after_seconds: 21600, step_seconds: 300 },
  retention_seconds: 1296000, snapshot: true, check: true, forecast: true, now: 1_800_000_000,
};
const now = info.now;

describe('durations', () => {
  it.each([['15m', 900], ['1h30m', 5400], ['7d', 604800], ['2w', 1209600], ['90s', 90]])('reads %s', (text, seconds) => expect(parseDuration(text)).toBe(seconds));
  it.each(['', '15', 'm', '1.5h', '-1h', '1h ', 'Infinity', '1e3s', '9999999s', '<script>'])('refuses %j', (text) => expect(parseDuration(text)).toBeNull());
  it('writes what it reads', () => {
    for (const s of [1, 59, 60, 61, 3600, 5400, 86400, 90061, 1296000]) expect(parseDuration(formatDuration(s))).toBe(s);
  });
});

describe('spans', () => {
  it('takes what is wrong in a URL as the default', () => {
    expect(parseSpan('what', 'never')).toEqual({ seconds: 3600, end: null });
    expect(parseSpan('1s', undefined).seconds).toBe(60);
    expect(parseSpan('9999d', undefined).seconds).toBe(400 * 86400);
    expect(parseSpan('1h', '2026-11-22T12:00:00Z')).toEqual({ seconds: 3600, end: Date.UTC(2026, 10, 22, 12) / 1000 });
  });
  it('asks for no more points than a chart shows, and windows hold four samples', () => {
    for (const seconds of [60, 900, 3600, 21600, 21601, 86400, 604800, 1296000, 400 * 86400]) {
      const r = resolve({ seconds, end: null }, info, now);
      expect(seconds / r.step).toBeLessThanOrEqual(240);
      expect(r.window).toBeGreaterThanOrEqual(4 * (r.long ? 300 : 15));
      expect(r.long).toBe(seconds > 21600);
      expect(r.end - r.start).toBe(seconds);
    }
  });
  it('ends a range of the future now', () => expect(resolve({ seconds: 3600, end: now + 1e6 }, info, now)).toMatchObject({ end: now, live: true }));
  it('knows the range before', () => {
    const r = resolve({ seconds: 3600, end: now - 7200 }, info, now);
    expect(before(r)).toMatchObject({ start: r.start - 3600, end: r.start, seconds: 3600, live: false });
  });
});

describe('the time picker', () => {
  const live = { seconds: 3600, end: null };
  it('goes back and forward, and no further than now', () => {
    expect(back(live, now)).toEqual({ seconds: 3600, end: now - 3600 });
    expect(forward(back(live, now), now)).toEqual(live);
    expect(forward({ seconds: 3600, end: now - 8000 }, now)).toEqual({ seconds: 3600, end: now - 4400 });
    expect(forward(live, now)).toEqual(live);
  });
  it('doubles around the middle', () => {
    expect(wider(live, now)).toEqual({ seconds: 7200, end: null });
    expect(wider({ seconds: 3600, end: now - 7200 }, now)).toEqual({ seconds: 7200, end: now - 5400 });
    expect(wider({ seconds: 3600, end: now - 60 }, now)).toEqual({ seconds: 7200, end: null });
  });
  it('takes two times in any order', () => {
    expect(between(now - 100, now - 4000, now)).toEqual({ seconds: 3900, end: now - 100 });
    expect(between(now - 4000, now + 4000, now)).toEqual({ seconds: 4000, end: null });
    expect(between(now + 10, now + 4000, now)).toBeNull();
    expect(between(now - 10, now, now)).toBeNull();
    expect(between(NaN, now, now)).toBeNull();
  });
  it('zooms to a minute at least', () => {
    expect(zoomed(1000, 4600)).toEqual({ seconds: 3600, end: 4600 });
    expect(zoomed(1010, 1000)).toEqual({ seconds: 60, end: 1035 });
  });
  it('keeps a time through an input', () => expect(fromLocal(local(now))).toBe(now));
  it('says what is chosen', () => {
    expect(spanName(live, '1h')).toBe('Last hour');
    expect(spanName({ seconds: 5400, end: null }, '1h30m')).toBe('Last 1h30m');
    expect(spanName({ seconds: 60, end: now }, '')).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d – \d\d:\d\d$/);
  });
  it('reads how often to refresh', () => {
    expect([undefined, 'off', '0', '5', '15s', '5m', '1', 'x', '-3'].map((x) => parseRefresh(x))).toEqual([15, 0, 0, 5, 15, 300, 15, 15, 15]);
    expect([0, 5, 60, 300].map(formatRefresh)).toEqual(['off', '5s', '1m', '5m']);
  });
  it('moves on no more often than it makes a difference', () => {
    const stays = (length: string, since: number) => settled(now - since, now, parseDuration(length)!);
    expect([['15m', 1], ['1h', 1], ['24h', 18], ['7d', 120], ['15d', 120], ['7d', -1]].map(([l, s]) => stays(l as string, s as number))).toEqual(Array(6).fill(false));
    expect([['24h', 15], ['7d', 0], ['7d', 119], ['15d', 119]].map(([l, s]) => stays(l as string, s as number))).toEqual(Array(4).fill(true));
  });
});
