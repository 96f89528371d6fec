package release

import (
	"cmp"
	"context"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"noether/deploy/image"
)

// What the image is, apart from the binary: the one table that the Dockerfile
// repeats, held to it by a test.
const (
	// Nonroot is a user number without rights, the one of distroless images.
	Nonroot = 65532

	binaryPath = "/noether"
	caPath     = "/etc/ssl/certs/ca-certificates.crt" // where crypto/x509 looks first
	licenceDir = "/licenses"                          // where OpenShift's certification looks

	passwd = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n"
	group  = "root:x:0:\nnonroot:x:65532:\n"
)

// Labels are those of image-spec's annotations.md that hold for every build.
func Labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       "noether",
		"org.opencontainers.image.description": "Measures a machine's energy and divides it exactly among processes, containers, pods and VMs",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
}

// Image is what ships for linux on arch. The binary is a file of the machine
// it is built on.
func (s Source) Image(ctx context.Context, ref, arch, binary string) (image.Image, error) {
	files, err := s.files(ctx, arch, binary)
	if err != nil {
		return image.Image{}, err
	}
	labels := Labels()
	labels["org.opencontainers.image.version"] = s.Version
	labels["org.opencontainers.image.revision"] = s.Revision
	return image.Image{
		Ref: ref, Platform: image.Platform{OS: "linux", Arch: arch}, Created: s.Created,
		// What follows the image's name replaces CMD: without it the agent
		// listens where a published port reaches it.
		Entrypoint: []string{binaryPath}, Cmd: []string{"agent", "--listen", ":9877"},
		User: fmt.Sprintf("%d:%d", Nonroot, Nonroot), WorkingDir: "/",
		ExposedPorts: []string{"9877/tcp"}, Labels: labels, Files: files,
	}, nil
}

func (s Source) files(ctx context.Context, arch, binary string) ([]image.File, error) {
	licences, err := s.Licences(ctx, arch)
	if err != nil {
		return nil, err
	}
	files := []image.File{
		{Path: binaryPath, Mode: 0o755, From: binary},
		{Path: caPath, Mode: 0o644, Content: CertificateAuthorities()},
		{Path: "/etc/passwd", Mode: 0o644, Content: []byte(passwd)},
		{Path: "/etc/group", Mode: 0o644, Content: []byte(group)},
		{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{Path: licenceDir + "/LICENSE", Mode: 0o644, From: filepath.Join(s.Dir, "LICENSE")},
		{Path: licenceDir + "/NOTICE", Mode: 0o644, From: filepath.Join(s.Dir, "NOTICE")},
	}
	for _, l := range licences {
		files = append(files, image.File{Path: licenceDir + "/third-party/" + l.Path, Mode: 0o644, Content: l.Content})
	}
	return files, nil
}

// CertificateAuthorities is Mozilla's list of roots as PEM. It comes with a
// module, checked by go.sum, so that it depends on no build machine's Debian.
// As in Debian's list, limits that Mozilla sets on some roots are lost.
func CertificateAuthorities() []byte {
	var out []byte
	for root := range bundle.Roots() {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})...)
	}
	return out
}

// Rootfs lays the files of the image for arch out below dir, for a Dockerfile
// to copy. Owners are left alone: COPY makes everything root's.
func (s Source) Rootfs(ctx context.Context, arch, binary, dir string) error {
	files, err := s.files(ctx, arch, binary)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := layOut(dir, f); err != nil {
			return fmt.Errorf("lay out %s below %s: %w", f.Path, dir, err)
		}
	}
	return nil
}

func layOut(dir string, f image.File) error {
	name := filepath.Join(dir, f.Path)
	if f.Mode.IsDir() {
		if err := os.MkdirAll(name, 0o755); err != nil {
			return err
		}
		return os.Chmod(name, f.Mode) // whatever the umask is
	}
	content := f.Content
	if f.From != "" {
		var err error
		if content, err = os.ReadFile(f.From); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name, content, cmp.Or(f.Mode.Perm(), 0o644)); err != nil {
		return err
	}
	return os.Chmod(name, f.Mode)
}
