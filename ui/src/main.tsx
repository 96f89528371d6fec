import { render } from 'preact';
import 'uplot/dist/uPlot.min.css';
import { App } from './app';
import { applyTheme, theme } from './lib/theme';
import './style.css';

applyTheme(theme());
render(<App />, document.getElementById('app')!);
