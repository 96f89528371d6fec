package main

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"noether/internal/agent"
	"noether/internal/config"
	"noether/internal/snapshot"
)

// Where a better sensor is closed and an agent that measures is running, top
// reads that agent and says so; where none is, it estimates and says so.
func TestTopAsksAnAgentWhereTheSensorIsClosed(t *testing.T) {
	s := serve(t, io.Discard, "--sensor=auto", "--sysfs="+powered(t, "power-intel-psys")+"/sys")
	for !strings.Contains(string(s.get(t, "/api/noether/v1/snapshot")), `"quality":"measured"`) {
		time.Sleep(20 * time.Millisecond)
	}
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags := config.Register(set)
	if err := set.Parse([]string{"--sysfs=" + powered(t, "power-masked") + "/sys", "--container-names=off"}); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(flags, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Agent.Interval = agent.MinInterval
	for _, c := range []struct{ url, about, quality string }{
		{s.url, "read from the agent at " + s.url + ": powercap is masked", "measured"},
		{"http://127.0.0.1:1", "energy from model; powercap is masked", "estimated"},
	} {
		source, err := openTop(t.Context(), &process{}, &cfg, &topOptions{agentURL: c.url, interval: agent.MinInterval}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if got := source.about(); !strings.HasPrefix(got, c.about) {
			t.Errorf("%q, want %q", got, c.about)
		}
		ctx, stop := context.WithCancel(t.Context())
		var last *snapshot.Snapshot
		err = source.run(ctx, func(s *snapshot.Snapshot) {
			last = s
			stop()
		}, func(err error) { t.Error(err) })
		if err != nil || last == nil || len(last.Nodes) == 0 || last.Nodes[0].Quality.String() != c.quality {
			t.Errorf("%s: %v, %+v", c.url, err, last)
		}
	}
	s.stop()
	<-s.code
}

func TestTopCommandLine(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		code   int
		stderr string
	}{
		"no terminal":    {nil, 2, "noether: standard output is no terminal: use noether top --once for a table, or --json for a line per tick\n"},
		"wrong words":    {[]string{"--sort=heat", "--period=year", "--rows=-1"}, 2, "noether: --sort \"heat\" is none of watts, joules, cpu, co2e, name\nnoether: --period \"year\" is none of tick, top, agent\nnoether: --rows -1 is less than none\n"},
		"too short":      {[]string{"--interval=1ms"}, 2, "noether: --interval 1ms is out of range: choose 100ms to 5m0s\n"},
		"some processes": {[]string{"--once", "--processes=some"}, 2, "noether: --processes \"some\" is none of off, top:N (N from 1 to 1000000), all\n"},
		"no address":     {[]string{"--once", "--agent=localhost:9877"}, 2, "noether: --agent \"localhost:9877\" is no address of an agent: write it like http://127.0.0.1:9877\n"},
		"no agent":       {[]string{"--once", "--agent=http://me:secret@127.0.0.1:1"}, 1, "noether: ask the agent at http://me:xxxxx@127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused\n"},
	} {
		code, stdout, stderr := noether(t.Context(), append([]string{"top"}, c.args...)...)
		if code != c.code || stderr != c.stderr || stdout != "" {
			t.Errorf("%s: exit code %d, %q, %q", name, code, stdout, stderr)
		}
	}
}
