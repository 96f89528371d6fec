// The theme is of this browser, not of the URL: who opens a link keeps theirs.
export const themes = ['auto', 'light', 'dark'] as const;
export type Theme = (typeof themes)[number];

const key = 'noether-theme';

// kept reads what this browser keeps under a name; browsers may refuse to keep anything.
export function kept(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function keep(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // then it holds until the page is closed
  }
}

export const parseTheme = (text: string | null): Theme => themes.find((t) => t === text) ?? 'auto';

export const theme = (): Theme => parseTheme(kept(key));

// applyTheme shows a theme, and tells those who draw with the colours of it.
export function applyTheme(t: Theme): void {
  if (t === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = t;
  dispatchEvent(new Event('noether-theme'));
}

export function setTheme(t: Theme): void {
  keep(key, t);
  applyTheme(t);
}
