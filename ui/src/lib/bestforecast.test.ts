import { describe, expect, it } from 'vitest';
import { flat, fromFamilies, parseAnswer, pastOf, zonesOf } from './bestforecast';
import type { Series } from './types';

const series = (labels: Record<string, string>, ...points: [number, number][]): Series => ({ labels, points });

describe('parseAnswer', () => {
  const sample = (from: string, to: string, grams_per_kwh: unknown, estimated = false) => ({ from, to, grams_per_kwh, estimated });
  it('reads what an agent answers', () => {
    const got = parseAnswer({
      zone: 'DE',
      provider: 'energy-charts',
      signal: 'average',
      factor: 'lifecycle',
      updated: '1970-01-01T01:00:00Z',
      now: sample('1970-01-01T00:00:00Z', '1970-01-01T01:00:00Z', 300),
      forecast: [sample('1970-01-01T03:00:00Z', '1970-01-01T04:00:00Z', 200, true), sample('1970-01-01T02:00:00Z', '1970-01-01T03:00:00Z', 100)],
      past: [],
    });
    expect(got).toEqual({
      zone: 'DE',
      provider: 'energy-charts',
      signal: 'average',
      factor: 'lifecycle',
      updated: 3600,
      now: { intensity: 300, estimated: false },
      forecaster: 'energy-charts',
      past: [],
      forecast: [
        { from: 7200, to: 10800, intensity: 100, estimated: false },
        { from: 10800, to: 14400, intensity: 200, estimated: true },
      ],
      coarse: false,
    });
  });
  it('knows the yearly average, which has no time', () => {
    const got = parseAnswer({ zone: 'FR', provider: 'yearly', now: sample('0001-01-01T00:00:00Z', '0001-01-01T00:00:00Z', 44, true), past: [], forecast: [] });
    expect([got?.now, got?.forecast, got?.updated]).toEqual([{ intensity: 44, estimated: true }, [], null]);
  });
  it.each([[null], ['DE'], [{}], [[]], [{ zone: 1 }]])('refuses %j', (doc) => expect(parseAnswer(doc)).toBeNull());
  it('leaves out what is no sample', () => {
    const bad = [null, 7, {}, sample('x', 'y', 1), sample('1970-01-02T00:00:00Z', '1970-01-01T12:00:00Z', 1), sample('1970-01-01T02:00:00Z', '1970-01-01T03:00:00Z', '1'), sample('1970-01-01T02:00:00Z', '1970-01-01T03:00:00Z', -1)];
    expect(parseAnswer({ zone: 'DE', now: null, past: 'x', forecast: bad })).toMatchObject({ now: null, past: [], forecast: [] });
  });
});

describe('fromFamilies', () => {
  const g = { grid_zone: 'DE', provider: 'p', signal: 'average', factor: 'lifecycle' };
  it('puts the hours of a forecast after now', () => {
    const got = fromFamilies(
      'DE',
      1000,
      [series({ ...g, estimated: 'true' }, [1000, 350]), series({ ...g, estimated: 'false' }, [1000, 300]), series({ ...g, grid_zone: 'FR' }, [1000, 1])],
      [series({ ...g, estimated: 'false' }, [1000, 900])],
      [series({ grid_zone: 'DE', horizon: '2h' }, [1000, 100]), series({ grid_zone: 'DE', horizon: '1h' }, [1000, 200]), series({ grid_zone: 'DE', horizon: 'x' }, [1000, 5]), series({ grid_zone: 'FR', horizon: '1h' }, [1000, 9])],
    );
    expect(got?.now).toEqual({ intensity: 300, estimated: false });
    expect(got?.updated).toBe(900);
    expect(got?.forecast.map((s) => [s.from, s.to, s.intensity])).toEqual([
      [1000, 4600, 300],
      [4600, 8200, 200],
      [8200, 11800, 100],
    ]);
  });
  it('is nothing where nobody knows, and has no forecast where nobody looks ahead', () => {
    expect(fromFamilies('DE', 0, [], [], [])).toBeNull();
    expect(fromFamilies('DE', 0, [series(g, [0, 5])], [], [])?.forecast).toEqual([]);
  });
});

it('zones have an order', () => expect(zonesOf([series({ grid_zone: 'FR' }), series({ grid_zone: 'DE' }), series({ grid_zone: 'FR' }), series({})])).toEqual(['DE', 'FR']));

it('a measured value wins over an estimate of the same time', () => {
  const got = pastOf('DE', [series({ grid_zone: 'DE', estimated: 'true' }, [0, 1], [60, 1]), series({ grid_zone: 'DE', estimated: 'false' }, [60, 2])], 60);
  expect(got).toEqual([
    { from: 0, to: 60, intensity: 1, estimated: true },
    { from: 60, to: 120, intensity: 2, estimated: false },
  ]);
});

it('flat is flat', () => {
  const at = (from: number, intensity: number) => ({ from, to: from + 1, intensity, estimated: false });
  expect([flat([]), flat([at(0, 1), at(1, 1)]), flat([at(0, 1), at(1, 2)])]).toEqual([false, true, false]);
});
