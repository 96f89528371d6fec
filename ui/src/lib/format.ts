// Figures as people read them: three significant digits and a unit that fits.

const scales: [number, string][] = [[1e9, 'G'], [1e6, 'M'], [1e3, 'k'], [1, ''], [1e-3, 'm'], [1e-6, 'µ'], [1e-9, 'n']];

// Making a formatter takes some thirty times as long as using it, and a table
// has hundreds of figures: there is one for each number of digits, and for
// each currency.
const formatters = new Map<string, Intl.NumberFormat>();

function formatter(key: string, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  let f = formatters.get(key);
  if (!f) {
    f = new Intl.NumberFormat('en', options);
    if (formatters.size < 100) formatters.set(key, f);
  }
  return f;
}

const significant = (digits: number): Intl.NumberFormat => formatter(`digits ${digits}`, { maximumSignificantDigits: digits });

export function number(value: number, digits = 3): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  return significant(size >= 1e6 ? digits : Math.max(digits, Math.ceil(Math.log10(size)))).format(value);
}

// scaled writes a value with a metric prefix.
export function scaled(value: number, unit: string, digits = 3): string {
  if (value === 0) return `0 ${unit}`;
  const size = Math.abs(value);
  const [factor, prefix] = scales.find(([f]) => size >= f * 0.9995) ?? scales[scales.length - 1]!;
  return `${number(value / factor, digits)} ${prefix}${unit}`;
}

export const watts = (w: number): string => scaled(w, 'W');

// energy takes joules and writes watt-hours, as bills do.
export const energy = (joules: number): string => scaled(joules / 3600, 'Wh');

// mass takes grams; a tonne is 1,000 kg.
export const mass = (grams: number): string => (Math.abs(grams) >= 1e6 ? `${number(grams / 1e6)} t` : Math.abs(grams) >= 1e3 ? `${number(grams / 1e3)} kg` : scaled(grams, 'g'));

// bytes are counted by powers of ten, as disks are.
export const bytes = (n: number): string => (Math.abs(n) < 1000 ? `${number(n)} B` : scaled(n, 'B'));

export const intensity = (gramsPerKWh: number): string => `${number(gramsPerKWh)} g/kWh`;

export function money(value: number, currency: string): string {
  try {
    return formatter(`money ${currency}`, { style: 'currency', currency, maximumSignificantDigits: 3 }).format(value);
  } catch {
    return `${number(value)} ${currency}`;
  }
}

export const percent = (ratio: number): string => `${number(ratio * 100, 3)} %`;

const tenths = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

// share writes a part of a whole; one that is there is never 0 %. All have one
// decimal, so that they stand below each other.
export const share = (ratio: number): string => (ratio > 0 && ratio < 0.0005 ? '<0.1 %' : `${(ratio > 0 && ratio < 0.9995 ? tenths : whole).format(ratio * 100)} %`);

// signed writes a change, with its sign.
export const signed = (text: string, value: number): string => (value > 0 ? `+${text}` : text);

// about marks a figure that nobody measured.
export const about = (text: string, estimated: boolean): string => (estimated ? `~${text}` : text);

const pad = (n: number): string => String(n).padStart(2, '0');

// clock writes a time in the reader's time zone, as short as the span allows.
export function clock(time: number, spanSeconds: number): string {
  const d = new Date(time * 1000);
  const day = `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`;
  const hm = `${pad(d.getHours())}:${pad(d.getMinutes())}`;
  if (spanSeconds <= 3600) return `${hm}:${pad(d.getSeconds())}`;
  return spanSeconds <= 86400 ? hm : `${day} ${hm}`;
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

// date writes a day in the reader's time zone, without its year.
export function date(time: number): string {
  const d = new Date(time * 1000);
  return `${d.getDate()} ${months[d.getMonth()]}`;
}

// axisTime writes a time beside an axis whose marks are so many seconds apart;
// the first of a day has the day.
export function axisTime(time: number, apart: number): string {
  const d = new Date(time * 1000);
  if (apart >= 86400 || (d.getHours() === 0 && d.getMinutes() === 0 && d.getSeconds() === 0)) return date(time);
  const hm = `${pad(d.getHours())}:${pad(d.getMinutes())}`;
  return apart < 60 ? `${hm}:${pad(d.getSeconds())}` : hm;
}

// change writes what a figure is against another, as arrow, percent and words.
export function change(value: number, before: number): { arrow: string; text: string; words: string } | null {
  if (!Number.isFinite(value) || !Number.isFinite(before) || before <= 0) return null;
  const ratio = value / before - 1;
  const size = percent(Math.abs(ratio) < 0.0005 ? 0 : Math.abs(ratio) < 0.1 ? Math.round(Math.abs(ratio) * 1000) / 1000 : Math.round(Math.abs(ratio) * 100) / 100);
  if (Math.abs(ratio) < 0.0005) return { arrow: '=', text: size, words: 'as much as' };
  return ratio > 0 ? { arrow: '▲', text: `+${size}`, words: `${size} more than` } : { arrow: '▼', text: `−${size}`, words: `${size} less than` };
}
