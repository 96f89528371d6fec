import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { SharedContext } from './context';
import { json, query } from './lib/api';
import { loads, useData } from './lib/data';
import { watts } from './lib/format';
import { fromSeries, fromSnapshot, qualityOf, total, type Now, type Snapshot } from './lib/now';
import { node as nodeQueries, nodes as nodesQuery } from './lib/queries';
import { formatDuration, parseSpan, resolve, settled, type Span } from './lib/range';
import { common, href, navigate, useRoute } from './lib/route';
import { useServer } from './lib/server';
import { keep, kept, setTheme, theme as storedTheme, themes, type Theme } from './lib/theme';
import { back, formatRefresh, forward, parseRefresh, wider } from './lib/time';
import { Help } from './parts/Help';
import { Trouble } from './parts/Panel';
import { TimePicker } from './parts/TimePicker';
import { Carbon } from './views/carbon';
import { Compare } from './views/compare';
import { Detail } from './views/detail';
import { Flow } from './views/flow';
import { Health } from './views/health';
import { Overview } from './views/overview';
import { Workloads } from './views/workloads';

const views = {
  overview: { title: 'Overview', view: Overview, tab: true },
  flow: { title: 'Flow', view: Flow, tab: true },
  workloads: { title: 'Workloads', view: Workloads, tab: true },
  detail: { title: 'Detail', view: Detail, tab: false },
  compare: { title: 'Compare', view: Compare, tab: true },
  carbon: { title: 'Carbon', view: Carbon, tab: true },
  health: { title: 'Health', view: Health, tab: true },
};
type View = keyof typeof views;
const tabs = (Object.keys(views) as View[]).filter((v) => views[v].tab);
const isView = (name: string): name is View => Object.hasOwn(views, name);

const keys = [
  ['1 … 6', 'the views, from left to right'],
  ['[  ]', 'back, forward by the length of the range'],
  ['-', 'twice the range'],
  ['n', 'up to now'],
  ['r', 'refresh now'],
  ['t', 'theme: auto, light, dark'],
  ['l', 'copy the link of this view'],
  ['?', 'these keys'],
  ['Esc', 'close what is open'],
] as const;

const typing = (e: EventTarget | null): boolean => e instanceof HTMLElement && (e.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(e.tagName));

// useTick moves the time of live ranges on: every so many seconds, not while
// the tab is hidden, not while anything is still being loaded.
function useTick(seconds: number): [tick: number, now: () => void] {
  const [tick, set] = useState(() => Date.now());
  const last = useRef(tick);
  const now = useCallback(() => {
    last.current = Date.now();
    set(last.current);
  }, []);
  useEffect(() => {
    if (seconds <= 0) return;
    const due = () => {
      if (document.visibilityState === 'visible' && loads.running === 0 && Date.now() - last.current >= seconds * 1000 - 100) now();
    };
    const timer = setInterval(due, 1000);
    document.addEventListener('visibilitychange', due);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', due);
    };
  }, [seconds, now]);
  return [tick, now];
}

export function App() {
  const route = useRoute();
  const server = useServer();
  const [help, setHelp] = useState(false);
  const [single, setSingle] = useState(() => kept('noether-keys') !== 'off');
  const [theme, chooseTheme] = useState<Theme>(storedTheme);
  const [round, setRound] = useState(0);
  const [copied, setCopied] = useState('');
  const params = route.params;
  const path = route.path.split('/')[0] || 'overview';
  const name: View = isView(path) ? path : 'overview';
  const span = parseSpan(params.range, params.end);
  const refresh = parseRefresh(params.refresh);
  const [tick, moveOn] = useTick(span.end === null ? refresh : 0);
  const info = server.info;
  const scopeNode = params.node ?? '';

  // A long range moves on less often than the clock; people who ask are obeyed.
  const ends = useRef({ at: 0, by: '' });
  const clock = Math.floor(tick / 1000 + server.skew);
  const by = `${round}/${span.seconds}/${span.end}/${server.skew}`;
  if (ends.current.by !== by || !settled(ends.current.at, clock, span.seconds)) ends.current = { at: clock, by };
  const nowTime = ends.current.at;
  const range = useMemo(() => (info ? resolve(span, info, nowTime) : null), [info?.step_seconds, info?.long?.step_seconds, span.seconds, span.end, nowTime]);
  const again = useCallback(() => {
    setRound((n) => n + 1);
    moveOn();
  }, [moveOn]);

  const now = useData<Now | undefined>(info ? `now ${tick}/${round}/${scopeNode}/${info.source}/${info.snapshot}` : '', async (signal) => {
    if (!info) return undefined;
    if (info.snapshot && (!scopeNode || scopeNode === info.node)) return fromSnapshot(await json<Snapshot>('api/noether/v1/snapshot', signal));
    if (info.source === 'none') return undefined;
    const at = Math.floor(Date.now() / 1000 + server.skew);
    const scope = { info, node: scopeNode, range: resolve({ seconds: 60, end: null }, info, at) };
    const [power, errors] = await Promise.all([query(nodeQueries.watts(scope), at, signal), query(nodeQueries.errorWatts(scope), at, signal)]);
    return fromSeries(at, power, errors);
  });
  const known = useData<string[]>(info && info.source !== 'none' ? `nodes ${round}/${info.source}` : '', async (signal) => {
    if (!info || info.source === 'none') return [];
    const found = await query(nodesQuery, Math.floor(Date.now() / 1000 + server.skew), signal);
    return found.map((s) => s.labels.node ?? '').filter((n) => n).sort();
  });

  const go = (to: Record<string, string | undefined>) => navigate(route.path || 'overview', { ...params, ...to });
  const setSpan = (to: Span) => go({ range: formatDuration(to.seconds), end: to.end === null ? undefined : new Date(to.end * 1000).toISOString() });
  const nextTheme = () => {
    const next = themes[(themes.indexOf(theme) + 1) % themes.length]!;
    setTheme(next);
    chooseTheme(next);
  };
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      setCopied('Link copied');
    } catch {
      setCopied('This browser does not let the page copy: take the link from the address bar');
    }
    setTimeout(() => setCopied(''), 3000);
  };

  const actions = useRef<(e: KeyboardEvent) => void>(() => undefined);
  actions.current = (e) => {
    if (!single || e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || typing(e.target) || document.querySelector('dialog[open]')) return;
    const at = Math.floor(Date.now() / 1000 + server.skew);
    const tab = tabs[Number(e.key) - 1];
    if (tab) navigate(tab, common(params));
    else if (e.key === '[') setSpan(back(span, at));
    else if (e.key === ']') setSpan(forward(span, at));
    else if (e.key === '-') setSpan(wider(span, at));
    else if (e.key === 'n') setSpan({ seconds: span.seconds, end: null });
    else if (e.key === 'r') again();
    else if (e.key === 't') nextTheme();
    else if (e.key === 'l') void copy();
    else if (e.key === '?') setHelp(true);
    else return;
    e.preventDefault();
  };
  useEffect(() => {
    const pressed = (e: KeyboardEvent) => actions.current(e);
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, []);

  const sum = total(now.value);
  const figure = sum.value === null ? '' : `${sum.estimated ? '~' : ''}${watts(sum.value)}`;
  useEffect(() => {
    document.title = [views[name].title, figure, 'Noether'].filter(Boolean).join(' · ');
  }, [name, figure]);

  // Who changes the view by keyboard goes on from its top.
  const main = useRef<HTMLElement>(null);
  const shown = useRef(name);
  useEffect(() => {
    if (shown.current !== name) scrollTo(0, 0);
    shown.current = name;
  }, [name]);

  if (!info || !range) {
    return (
      <main id="main" class="alone">
        <h1>Noether</h1>
        {server.error ? <Trouble error={server.error} /> : <p role="status">Loading…</p>}
        {server.error && <p class="note">The page tries again by itself.</p>}
      </main>
    );
  }

  const quality = qualityOf(now.value);
  const list = known.value ?? [];
  const picker = list.length > 1 || (scopeNode !== '' && !(list.length === 1 && list[0] === scopeNode));
  const skewed = Math.abs(server.skew) >= 60;
  const View = views[name].view;
  return (
    <SharedContext.Provider value={{ info, range, span, node: scopeNode, route, setSpan, now: now.value, round }}>
      <a
        class="skip"
        href="#main"
        onClick={(e) => {
          // The hash is the view: the link moves the focus itself.
          e.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to the figures
      </a>
      <header class="top">
        <div class="brand">
          <a href={href('overview', common(params))} class="name">
            Noether
          </a>
          <span class="where" title={info.source === 'prometheus' ? `History from ${info.backend ?? 'a remote Prometheus'}` : info.source === 'store' ? 'History kept by this agent' : (info.reason ?? 'No history')}>
            {info.source === 'prometheus' ? (info.backend ?? '') : (info.node ?? '')}
          </span>
        </div>
        <nav aria-label="Views">
          {tabs.map((v) => (
            <a key={v} href={href(v, common(params))} aria-current={v === name || (name === 'detail' && v === 'workloads') ? 'page' : undefined}>
              {views[v].title}
            </a>
          ))}
        </nav>
        <div class="tools">
          {figure && (
            <span class="live" title="Power of now">
              {figure}
            </span>
          )}
          <a class={`badge ${quality.level}`} href={href('health', common(params))} title={quality.title}>
            {quality.text}
          </a>
          {picker && (
            <label class="nodes">
              <span class="sr">Node</span>
              <select value={scopeNode} onChange={(e) => go({ node: e.currentTarget.value || undefined })}>
                <option value="">all nodes</option>
                {[...new Set(scopeNode ? [scopeNode, ...list] : list)].map((n) => (
                  <option key={n} value={n}>
                    {n}
                  </option>
                ))}
              </select>
            </label>
          )}
          <TimePicker
            span={span}
            range={range}
            now={nowTime}
            refresh={refresh}
            oldest={info.retention_seconds === null ? null : nowTime - info.retention_seconds}
            onSpan={setSpan}
            onRefresh={(r) => go({ refresh: formatRefresh(r) })}
            onAgain={again}
          />
          <div class="small">
            <button type="button" title={`Theme: ${theme} ( t )`} aria-label={`Theme: ${theme}`} onClick={nextTheme}>
              {theme === 'auto' ? '◐' : theme === 'light' ? '☀' : '☾'}
            </button>
            <button type="button" title="Copy the link of this view ( l )" aria-label="Copy the link of this view" onClick={() => void copy()}>
              <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
                <path d="M6.5 9.5l3-3M7 4.5l1.7-1.7a3 3 0 0 1 4.5 4.3L11.5 9M9 11.5l-1.7 1.7a3 3 0 0 1-4.5-4.3L4.5 7" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" />
              </svg>
            </button>
            <button type="button" title="Keys ( ? )" aria-label="Keys" onClick={() => setHelp(true)}>
              ?
            </button>
          </div>
        </div>
      </header>
      <div class="banners" aria-live="polite">
        {server.away && <p class="banner bad">Nothing answers at this address any more: what is shown is older. The page tries again by itself.</p>}
        {info.source === 'none' && <p class="banner warn">There is no history here{info.reason ? `: ${info.reason.replace(/[.\s]*$/, '')}` : ''}. What is shown is of now.</p>}
        {skewed && <p class="banner warn">The clocks of this computer and of the server differ by {formatDuration(Math.abs(server.skew))}. Times shown are the server's.</p>}
        {server.first !== undefined && info.version !== server.first && (
          <p class="banner">
            The server was replaced by version {info.version}.{' '}
            <button type="button" onClick={() => location.reload()}>
              Load its page
            </button>
          </p>
        )}
        {copied && <p class="banner">{copied}</p>}
      </div>
      <main id="main" ref={main} tabIndex={-1} class={`view-${name}`}>
        <h1 class="sr">{views[name].title}</h1>
        {path !== name && <p class="banner warn">There is no view “{path}”: this is the overview.</p>}
        <View key={name} />
      </main>
      <Help
        open={help}
        keys={keys}
        on={single}
        version={info.version}
        onKeys={(on) => {
          keep('noether-keys', on ? 'on' : 'off');
          setSingle(on);
        }}
        onClose={() => setHelp(false)}
      />
    </SharedContext.Provider>
  );
}
