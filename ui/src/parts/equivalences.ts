// What energy and grams are like. Each factor says whose it is; one that
// nobody can look up has no place here.

export interface Equivalence {
  of: 'joules' | 'grams';
  per: number; // joules or grams of one
  unit: string; // after the number, for many
  what: string; // one sentence: what is compared with
  source: string;
  year: number;
}

const mile = 1609.344; // metres, by definition

export const equivalences: Equivalence[] = [
  {
    of: 'joules',
    // 14.46 Wh a day with a charger that keeps full for 22 h at 0.13 W.
    per: (14.46 - 22 * 0.13) * 3600,
    unit: 'smartphone charges',
    what: 'One charge of a smartphone takes 11.6 Wh.',
    source: 'US EPA, Greenhouse Gas Equivalencies Calculator, Calculations and References (after US DOE)',
    year: 2021,
  },
  {
    of: 'joules',
    // 4.18 kJ for each kilogram and kelvin, from 20 °C to 100 °C, without losses.
    per: 4.18e3 * 80,
    unit: 'litres of water brought from 20 °C to the boil',
    what: 'Heating a litre of water by 80 K takes 334 kJ, without losses.',
    source: 'specific heat of water, 4.18 kJ/(kg K): CRC Handbook of Chemistry and Physics, 97th edition',
    year: 2016,
  },
  {
    of: 'grams',
    per: 393 / (mile / 1000),
    unit: 'km by an average US petrol car',
    what: 'An average petrol passenger vehicle on US roads emits 393 g CO2e a mile, which is 244 g a kilometre.',
    source: 'US EPA, Greenhouse Gas Equivalencies Calculator, Calculations and References',
    year: 2024,
  },
];

// like counts how many of it an amount is.
export const like = (e: Equivalence, amount: { joules: number | null; grams: number | null }): number | null => {
  const of = amount[e.of];
  return of === null || !(of > 0) ? null : of / e.per;
};
