import { describe, expect, it } from 'vitest';
import { axisTime, bytes, change, clock, energy, mass, money, number, percent, scaled, share, watts } from './format';

describe('figures', () => {
  it.each([[0, '0 W'], [12.345, '12.3 W'], [0.0123, '12.3 mW'], [1234, '1.23 kW'], [999.7, '1 kW'], [1.5e-7, '150 nW'], [-3.2, '-3.2 W'], [2.5e6, '2.5 MW']])('writes %d watts', (w, text) => expect(watts(w)).toBe(text));
  it('writes energy as bills do', () => expect([energy(3600), energy(3.6e6), energy(36)]).toEqual(['1 Wh', '1 kWh', '10 mWh']));
  it('writes grams as people weigh', () => expect([mass(0.0021), mass(2), mass(2100), mass(2.1e6)]).toEqual(['2.1 mg', '2 g', '2.1 kg', '2.1 t']));
  it('writes bytes by powers of ten', () => expect([bytes(12), bytes(34_200_000)]).toEqual(['12 B', '34.2 MB']));
  it('writes money of any currency, and of none', () => expect([money(1.234, 'EUR'), money(1.234, 'no money')]).toEqual(['€1.23', '1.23 no money']));
  it('keeps whole numbers whole', () => expect([number(12345), number(0.00012345), number(123.456)]).toEqual(['12,345', '0.000123', '123']));
  it('never calls a share nothing', () => expect([share(0), share(0.0001), share(0.12345), share(0.12), share(1), percent(0.5)]).toEqual(['0 %', '<0.1 %', '12.3 %', '12.0 %', '100 %', '50 %']));
  it('scales down to nano', () => expect(scaled(2e-9, 's')).toBe('2 ns'));
});

describe('a change', () => {
  it('has an arrow, a percentage and words', () => {
    expect(change(118, 100)).toEqual({ arrow: '▲', text: '+18 %', words: '18 % more than' });
    expect(change(95.5, 100)).toEqual({ arrow: '▼', text: '−4.5 %', words: '4.5 % less than' });
    expect(change(100, 100.01)).toEqual({ arrow: '=', text: '0 %', words: 'as much as' });
  });
  it('is none against nothing', () => expect([change(1, 0), change(NaN, 1), change(1, NaN), change(1, -1)]).toEqual([null, null, null, null]));
});

describe('times', () => {
  const t = new Date(2026, 10, 22, 9, 5, 7).getTime() / 1000;
  it('are as long as the span needs', () => expect([clock(t, 900), clock(t, 7200), clock(t, 604800)]).toEqual(['09:05:07', '09:05', '2026-11-22 09:05']));
  it('mark days on an axis', () => expect([axisTime(t, 60), axisTime(t, 30), axisTime(new Date(2026, 10, 22).getTime() / 1000, 3600), axisTime(t, 86400)]).toEqual(['09:05', '09:05:07', '22 Nov', '22 Nov']));
});
