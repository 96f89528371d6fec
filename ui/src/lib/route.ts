// Every view is a URL: #/view?key=value. What is after the hash never goes to
// a server, and works below any prefix.
import { useEffect, useState } from 'preact/hooks';

export interface Route {
  path: string; // without the leading slash
  params: Record<string, string>;
}

export function parseRoute(hash: string): Route {
  const [path = '', search = ''] = hash.replace(/^#?\/?/, '').split('?', 2);
  return { path, params: Object.fromEntries(new URLSearchParams(search)) };
}

// href is the address of a view; parameters that are empty are left out.
export function href(path: string, params: Record<string, string | undefined | null>): string {
  const search = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) if (v) search.set(k, v);
  const text = search.toString();
  return `#/${path}${text ? `?${text}` : ''}`;
}

// common are the parameters that stay when the view changes.
export const common = ({ range, end, node, refresh }: Record<string, string>): Record<string, string | undefined> => ({ range, end, node, refresh });

export function navigate(path: string, params: Record<string, string | undefined | null>, replace = false): void {
  const to = href(path, params);
  if (to === location.hash) return;
  if (replace) {
    history.replaceState(null, '', to);
    dispatchEvent(new HashChangeEvent('hashchange'));
  } else {
    location.hash = to;
  }
}

export function useRoute(): Route {
  const [route, set] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const changed = () => set(parseRoute(location.hash));
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return route;
}
