import { useEffect, useMemo, useState } from 'preact/hooks';
import { SharedContext } from './context';
import { pageInfo } from './lib/api';
import { useData } from './lib/data';
import { parseSpan, presets, resolve, type Span } from './lib/range';
import { common, href, navigate, useRoute } from './lib/route';
import { Trouble } from './parts/Panel';
import { Carbon } from './views/carbon';
import { Compare } from './views/compare';
import { Flow } from './views/flow';
import { Health } from './views/health';
import { Overview } from './views/overview';
import { Workloads } from './views/workloads';

const views = {
  overview: { title: 'Overview', view: Overview },
  flow: { title: 'Flow', view: Flow },
  workloads: { title: 'Workloads', view: Workloads },
  compare: { title: 'Compare', view: Compare },
  carbon: { title: 'Carbon', view: Carbon },
  health: { title: 'Health', view: Health },
};

export function App() {
  const route = useRoute();
  const info = useData('page', pageInfo);
  const [tick, setTick] = useState(() => Date.now());
  const refresh = Number(route.params.refresh ?? 15);
  useEffect(() => {
    if (!(refresh > 0)) return;
    const timer = setInterval(() => document.visibilityState === 'visible' && setTick(Date.now()), refresh * 1000);
    return () => clearInterval(timer);
  }, [refresh]);

  const name = (route.path.split('/')[0] || 'overview') as keyof typeof views;
  const span = parseSpan(route.params.range, route.params.end);
  const server = info.value;
  const skew = useMemo(() => (server ? server.now - Date.now() / 1000 : 0), [server]);
  if (!server) return <main>{info.error ? <Trouble error={info.error} /> : <p>Loading…</p>}</main>;

  const range = resolve(span, server, Math.floor(tick / 1000 + skew));
  const setSpan = (to: Span) => navigate(route.path || 'overview', { ...route.params, range: `${to.seconds}s`, end: to.end === null ? undefined : new Date(to.end * 1000).toISOString() });
  const View = (views[name] ?? views.overview).view;
  return (
    <SharedContext.Provider value={{ info: server, range, span, node: route.params.node ?? '', route, setSpan }}>
      <header class="top">
        <nav aria-label="Views">
          {Object.entries(views).map(([path, v]) => (
            <a key={path} href={href(path, common(route.params))} aria-current={path === name ? 'page' : undefined}>
              {v.title}
            </a>
          ))}
        </nav>
        <div class="range" role="group" aria-label="Time range">
          {presets.map((p) => (
            <button type="button" key={p} aria-pressed={span.end === null && route.params.range === p ? 'true' : 'false'} onClick={() => navigate(route.path || 'overview', { ...route.params, range: p, end: undefined })}>
              {p}
            </button>
          ))}
        </div>
      </header>
      <main id="main">
        <View />
      </main>
    </SharedContext.Provider>
  );
}
