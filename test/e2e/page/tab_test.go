package page

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"noether/test/program"
)

const patience = program.Patience

// size is that of a window, in CSS pixels.
type size struct{ width, height int64 }

var (
	desktop = size{1400, 1000}
	phone   = size{390, 844}
	wide    = size{2560, 1440}
)

// tab is one tab of the browser with a profile of its own, at one server.
type tab struct {
	t         *testing.T
	ctx       context.Context
	origin    string // http://127.0.0.1:PORT
	base      string // the path below it, without / at the end
	downloads string // the directory
	allowed   []*regexp.Regexp

	mu      sync.Mutex
	faults  []string
	pending map[network.RequestID]string
	asked   []string // every URL
	bytes   map[network.RequestID]float64
	saved   []string // files that were downloaded whole
}

// open opens a tab at a server, or at a path of one. What the tab sees that is no good fails the
// test at its end, but for what matches one of the patterns.
func open(t *testing.T, address string, window size, expected ...string) *tab {
	t.Helper()
	of, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	b := &tab{t: t, origin: of.Scheme + "://" + of.Host, base: of.Path, downloads: t.TempDir(), pending: map[network.RequestID]string{}, bytes: map[network.RequestID]float64{}}
	for _, e := range expected {
		b.allowed = append(b.allowed, regexp.MustCompile(e))
	}
	ctx, cancel := chromedp.NewContext(browser(t), chromedp.WithNewBrowserContext(), chromedp.WithListener(b.listen))
	b.ctx = ctx
	t.Cleanup(func() {
		if t.Failed() {
			b.shot("failed-" + strings.ReplaceAll(t.Name(), "/", "-"))
		}
		cancel()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, f := range b.faults {
			if !slices.ContainsFunc(b.allowed, func(r *regexp.Regexp) bool { return r.MatchString(f) }) {
				t.Errorf("the browser says: %s", f)
			}
		}
	})
	b.must(chromedp.Do(ctx)) // the tab lives as long as the context of its first action
	b.must(chromedp.ListenBrowser(ctx, b.listen))
	_, err = chromedp.Call(ctx, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: watcher})
	b.must(err)
	yes := true
	_, err = chromedp.CallBrowser(ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
		Behavior: "allow", BrowserContextID: chromedp.FromContext(ctx).BrowserContextID, DownloadPath: b.downloads, EventsEnabled: &yes,
	})
	b.must(err)
	b.resize(window)
	return b
}

// watcher runs in every document before the page's own scripts.
const watcher = `
document.addEventListener('securitypolicyviolation', (e) => console.error('content security policy: ' + e.violatedDirective + ' ' + e.blockedURI + ' ' + e.sample));
addEventListener('unhandledrejection', (e) => console.error('unhandled rejection: ' + e.reason));
`

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fault := func(format string, args ...any) { b.faults = append(b.faults, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		var words []string
		for _, a := range e.Args {
			words = append(words, strings.Trim(string(a.Value), `"`)+a.Description)
		}
		fault("console.%s: %s", e.Type, strings.Join(words, " "))
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		fault("exception: %s", text)
	case *cdppage.EventJavascriptDialogOpening:
		fault("dialog: %s", e.Message)
	case *log.EventEntryAdded:
		fault("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
	case *network.EventRequestWillBeSent:
		if !strings.HasSuffix(e.Request.URL, "/icon.svg") { // the browser's own wish, whose end is not always told
			b.pending[e.RequestID] = e.Request.URL
		}
		b.asked = append(b.asked, e.Request.URL)
		if u, err := url.Parse(e.Request.URL); err != nil || !slices.Contains([]string{"blob", "data"}, u.Scheme) && u.Scheme+"://"+u.Host != b.origin {
			fault("request to another origin: %s", e.Request.URL)
		}
	case *network.EventResponseReceived:
		if e.Response.Status >= 400 {
			fault("answer %d: %s", e.Response.Status, e.Response.URL)
		}
	case *network.EventLoadingFailed:
		if !e.Canceled { // by the page, which asks something else by now
			fault("request failed: %s %s %s", e.ErrorText, e.BlockedReason, b.pending[e.RequestID])
		}
		delete(b.pending, e.RequestID)
	case *network.EventLoadingFinished:
		b.bytes[e.RequestID] = e.EncodedDataLength
		delete(b.pending, e.RequestID)
	case *cdpbrowser.EventDownloadProgress:
		if e.State == "completed" {
			b.saved = append(b.saved, e.FilePath)
		}
	}
}

func (b *tab) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// limited is the tab's context for one action.
func (b *tab) limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.ctx, patience)
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%v\n%s", err, b.where())
	}
}

// where tells what the tab shows, for messages.
func (b *tab) where() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + '\n' + (document.body ? document.body.innerText.slice(0, 1500) : '')`))
	if err != nil {
		return err.Error()
	}
	return text
}

// eval runs a script in the page.
func eval[T any](b *tab, script string, args ...any) T {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	for i, a := range args {
		text, err := json.Marshal(a)
		b.must(err)
		args[i] = string(text)
	}
	if len(args) > 0 {
		script = fmt.Sprintf(script, args...)
	}
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", script, err, b.where())
	}
	return v
}

// until waits until a script is true. Arguments are written into it as JSON.
func (b *tab) until(what, script string, args ...any) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !eval[bool](b, "!!("+script+")", slices.Clone(args)...); time.Sleep(25 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("wait for %s: it did not come in %v\n%s", what, patience, b.where())
		}
	}
}

func (b *tab) resize(window size) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(window.width, window.height))
}

// prefers sets what the reader's system prefers: light or dark.
func (b *tab) prefers(scheme string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	b.must(err)
}

// visit opens an address of the page, as a link from elsewhere does, and waits
// until it stands.
func (b *tab) visit(hash string) {
	b.t.Helper()
	b.do(chromedp.Navigate("about:blank"))
	b.mu.Lock()
	clear(b.pending) // of what the document before asked, nothing is heard any more
	b.mu.Unlock()
	b.do(chromedp.Navigate(b.origin + b.base + "/" + hash))
	b.settle()
}

// settle waits until no panel is busy and nothing is asked for.
func (b *tab) settle() {
	b.t.Helper()
	quiet := 0
	for deadline := time.Now().Add(patience); quiet < 3; time.Sleep(40 * time.Millisecond) {
		b.mu.Lock()
		pending := len(b.pending)
		b.mu.Unlock()
		if pending == 0 && eval[bool](b, `document.readyState === 'complete' && !!document.querySelector('main [data-panel], main .trouble, main .empty') && !document.querySelector('[aria-busy=true]')`) {
			quiet++
		} else {
			quiet = 0
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the page is still busy after %v: %v\n%s", patience, b.pending, b.where())
		}
	}
}

// text is what the first element that matches shows.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return eval[string](b, `(document.querySelector(%s)?.innerText ?? '').trim()`, selector)
}

// texts is what all that match show.
func (b *tab) texts(selector string) []string {
	b.t.Helper()
	return eval[[]string](b, `[...document.querySelectorAll(%s)].map((e) => e.innerText.trim())`, selector)
}

func (b *tab) count(selector string) int {
	b.t.Helper()
	return eval[int](b, `document.querySelectorAll(%s).length`, selector)
}

// click presses the mouse on the first element that matches.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.do(chromedp.ScrollIntoView(chromedp.CSS(selector)), chromedp.Click(chromedp.CSS(selector)))
}

// press presses keys, such as kb.Tab.
func (b *tab) press(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

func (b *tab) hash() string {
	b.t.Helper()
	return eval[string](b, `location.hash`)
}

// download presses a button that saves a file, and returns its content.
func (b *tab) download(selector string) []byte {
	b.t.Helper()
	b.mu.Lock()
	before := len(b.saved)
	b.mu.Unlock()
	b.click(selector)
	for deadline := time.Now().Add(patience); ; time.Sleep(25 * time.Millisecond) {
		b.mu.Lock()
		saved := b.saved[before:]
		b.mu.Unlock()
		if len(saved) > 0 {
			content, err := os.ReadFile(saved[0])
			b.must(err)
			b.must(os.Remove(saved[0]))
			return content
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s saved no file in %v", selector, patience)
		}
	}
}

// shot keeps what the tab shows as NAME.png among the artefacts.
func (b *tab) shot(name string) []byte {
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Logf("take a screenshot: %v", err)
		return nil
	}
	dir := os.Getenv("NOETHER_E2E_OUT")
	if dir == "" {
		dir = b.t.ArtifactDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		b.t.Error(err)
	}
	return png
}

// image is shot, for the documentation too when it is being made anew.
func (b *tab) image(name string) {
	b.t.Helper()
	png := b.shot(name)
	if !*updateImages || png == nil {
		return
	}
	dir := filepath.Join("..", "..", "..", "docs", "images")
	b.must(os.MkdirAll(dir, 0o755))
	b.must(os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
}

// axeFile is of the npm package axe-core, which make ui installs for the tests.
const axeFile = "../../../ui/node_modules/axe-core/axe.min.js"

// accessible lets axe-core look at what the tab shows. No finding of it may be
// serious or critical. Without axe-core it looks at nothing.
func (b *tab) accessible(what string) {
	b.t.Helper()
	axe, err := os.ReadFile(axeFile)
	if err != nil {
		if os.Getenv("CI") == "true" {
			b.t.Fatalf("%v: make ui/node_modules", err)
		}
		b.t.Logf("%s: needs axe-core: %v: make ui/node_modules", what, err)
		return
	}
	b.do(chromedp.Evaluate[chromedp.Void](string(axe)))
	type finding struct {
		Impact, ID, Help string
		Nodes            []string
	}
	for _, f := range eval[[]finding](b, `axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations.map((v) => ({ Impact: v.impact, ID: v.id, Help: v.help, Nodes: v.nodes.slice(0, 4).map((n) => n.target.join(' ') + ' ' + n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? '')) })))`) {
		if f.Impact == "serious" || f.Impact == "critical" {
			b.t.Errorf("%s: %s: %s (%s)\n\t%s", what, f.Impact, f.Help, f.ID, strings.Join(f.Nodes, "\n\t"))
			continue
		}
		b.t.Logf("%s: %s: %s (%s)", what, f.Impact, f.Help, f.ID)
	}
}
