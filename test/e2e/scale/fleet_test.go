package scale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"noether/internal/identity/kube"
	"noether/internal/workload"
)

// fleetVariable makes the test program the agents of all nodes, as far as they
// ask for names: its value is the kubeconfig and the number of nodes.
const fleetVariable = "NOETHER_SCALE_FLEET"

// fleetAgent is the user agent of the fleet: kube.Options.Version is "fleet".
const fleetAgent = "noether/fleet"

// fleetState is what the fleet says of itself, twice a second.
type fleetState struct {
	Known    []int // pods, by node
	Up       int   // sources whose last answer was one
	Synced   int   // sources that have known all pods at some time
	Requests uint64
	Bytes    uint64
}

func playFleet(config string) error {
	kubeconfig, count, _ := strings.Cut(config, "|")
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	sources := make([]*kube.Source, n)
	for i := range sources {
		if sources[i], err = kube.Open(kube.Options{
			Mode: kube.API, Node: nodeName(i), Kubeconfig: kubeconfig, Version: "fleet",
			Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), Now: time.Now,
		}); err != nil {
			cancel()
			return err
		}
	}
	var wg sync.WaitGroup
	for _, s := range sources {
		wg.Go(func() { s.Run(ctx) })
	}
	go func() {
		io.Copy(io.Discard, os.Stdin) // whoever started this closes it
		cancel()
	}()
	for ctx.Err() == nil {
		state := fleetState{Known: make([]int, n)}
		for i, s := range sources {
			var status []workload.NamesStatus
			status = s.Status(status)
			state.Known[i] = status[0].Known
			state.Requests += status[0].Requests
			state.Bytes += status[0].Bytes
			if status[0].Up {
				state.Up++
			}
			if !status[0].Synced.IsZero() {
				state.Synced++
			}
		}
		line, err := json.Marshal(state)
		if err == nil {
			_, err = fmt.Println(string(line))
		}
		if err != nil {
			cancel()
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	wg.Wait()
	return nil
}

// fleet is a running fleet.
type fleet struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	log   buffer
	done  chan struct{}

	mu   sync.Mutex
	last fleetState
}

func startFleet(t *testing.T, at *place, kubeconfig string) *fleet {
	t.Helper()
	f := &fleet{t: t, done: make(chan struct{})}
	f.cmd = exec.Command("/proc/self/exe")
	f.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", fleetVariable, kubeconfig, *nodes))
	f.cmd.Stderr = &f.log
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var err error
	if f.stdin, err = f.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := at.start(f.cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(f.done)
		states := json.NewDecoder(out)
		for {
			var s fleetState
			if err := states.Decode(&s); err != nil {
				if !errors.Is(err, io.EOF) {
					t.Errorf("the fleet: %v", err)
				}
				return
			}
			f.mu.Lock()
			f.last = s
			f.mu.Unlock()
		}
	}()
	t.Cleanup(f.stop)
	return f
}

func (f *fleet) stop() {
	if f.cmd.ProcessState != nil {
		return
	}
	f.stdin.Close()
	<-f.done
	if err := f.cmd.Wait(); err != nil {
		f.t.Errorf("the fleet ended with %v", err)
	}
	if f.t.Failed() {
		f.t.Logf("log of the fleet:\n%.5000s", f.log.String())
	}
}

func (f *fleet) state() fleetState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// await waits until every source knows the pods of its node and no others.
func (f *fleet) await(w *world) fleetState {
	f.t.Helper()
	wrong := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		s := f.state()
		if wrong = ""; s.Up != *nodes || s.Synced != *nodes {
			wrong = fmt.Sprintf("%d of %d up, %d complete", s.Up, *nodes, s.Synced)
			continue
		}
		for i, known := range s.Known {
			if want := len(w.on(i)); known != want {
				wrong = fmt.Sprintf("%s has %d pods, and its source knows %d", nodeName(i), want, known)
				break
			}
		}
		if wrong == "" {
			return s
		}
	}
	f.t.Fatalf("wait for the sources of all nodes: %s\n%.5000s", wrong, f.log.String())
	return fleetState{}
}
