package depstmp
import (
 _ "github.com/cilium/ebpf"
 _ "github.com/cilium/ebpf/link"
 _ "github.com/cilium/ebpf/ringbuf"
 _ "github.com/cilium/ebpf/btf"
 _ "github.com/google/go-cmp/cmp"
 _ "github.com/klauspost/compress/gzip"
 _ "github.com/prometheus/common/expfmt"
 _ "github.com/prometheus/exporter-toolkit/web"
 _ "github.com/prometheus/procfs"
 _ "github.com/spf13/cobra"
 _ "github.com/spf13/pflag"
 _ "go.uber.org/goleak"
 _ "go.yaml.in/yaml/v3"
 _ "golang.org/x/sys/unix"
 _ "golang.org/x/tools/txtar"
)
