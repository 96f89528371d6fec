import { expect, it } from 'vitest';
import { csv, objects } from './download';

const table = { columns: ['name', 'joules'], rows: [['a,b', 1.5], ['=HYPERLINK("x")', -2], ['line\nbreak "q"', null], ['+1', 0], [undefined, 1e-7]] };

it('writes RFC 4180, and no formula', () =>
  expect(csv(table)).toBe('name,joules\r\n"a,b",1.5\r\n"\'=HYPERLINK(""x"")",-2\r\n"line\nbreak ""q""",\r\n\'+1,0\r\n,1e-7\r\n'));
it('writes objects with every column', () => expect(objects(table)[2]).toEqual({ name: 'line\nbreak "q"', joules: null }));
