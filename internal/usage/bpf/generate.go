package bpf

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang -target bpfel -go-package bpf -no-global-types tasks csrc/tasks.bpf.c -- -O2 -Wall -Werror
