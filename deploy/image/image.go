// Package image writes container images as tar archives without a container
// engine: the layout of OCI's image-spec, so that `ctr images import`, `podman
// load`, `skopeo copy oci-archive:` and Docker's containerd store take them,
// and beside it, in archives of one platform, the manifest.json by which
// `docker load` of any age knows them.
//
// The bytes depend on the arguments, the named files and the Go version only:
// no clock, no order of a directory, no owner or time of a file gets in. It
// builds no file system from others (no base image), makes no links or
// devices, and pushes nowhere.
package image

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Image is one image for one platform. It is a value: nothing here changes it.
type Image struct {
	// Ref names the image with its tag, as in noether:1.2.3. A name without a
	// registry is Docker's: docker.io/library/noether:1.2.3.
	Ref      string
	Platform Platform
	// Created is the time in the configuration and of every file, in whole
	// seconds. The zero time counts as 1970-01-01.
	Created time.Time

	// What a container runs, when its own configuration says nothing else.
	Entrypoint, Cmd []string
	User            string // a name of /etc/passwd, or "65532:65532"
	WorkingDir      string // empty counts as /
	Env             []string
	Labels          map[string]string
	ExposedPorts    []string // "9877/tcp"

	Files []File
}

// Platform is where an image runs, in the words of Go and of image-spec.
type Platform struct{ OS, Arch, Variant string }

func (p Platform) String() string {
	if p.Variant != "" {
		return p.OS + "/" + p.Arch + "/" + p.Variant
	}
	return p.OS + "/" + p.Arch
}

// File is one file, or with fs.ModeDir one directory, of an image. Directories
// above it need not be listed: they are root's, with mode 0755.
type File struct {
	Path     string      // absolute, clean
	Mode     fs.FileMode // permissions, fs.ModeSticky, fs.ModeDir
	UID, GID int
	// Where the bytes of a file are: on this machine's disk, or here if From
	// is empty.
	From    string
	Content []byte
}

// Write writes images, which are one image for different platforms, as one
// archive.
func Write(w io.Writer, images ...Image) error {
	a, err := Build(images...)
	if err != nil {
		return err
	}
	_, err = a.WriteTo(w)
	return err
}

// Archive is a built image, held in memory. It never changes, and is safe for
// any number of goroutines.
type Archive struct {
	files []archived // in the order of the tar
	// digest is what a registry would call the image: of its manifest, or of
	// the index over those of several platforms.
	digest string
}

type archived struct {
	name    string
	content []byte
}

// Digest returns the name by content, sha256:…, under which registries and
// engines know the image.
func (a *Archive) Digest() string { return a.digest }

// WriteTo writes the archive as a tar.
func (a *Archive) WriteTo(w io.Writer) (int64, error) {
	counter := &countingWriter{w: w}
	tw := tar.NewWriter(counter)
	for _, f := range a.files {
		err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.content)), ModTime: time.Unix(0, 0)})
		if err == nil {
			_, err = tw.Write(f.content)
		}
		if err != nil {
			return counter.n, fmt.Errorf("write %s of image archive: %w", f.name, err)
		}
	}
	if err := tw.Close(); err != nil {
		return counter.n, fmt.Errorf("end image archive: %w", err)
	}
	return counter.n, nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Media types and annotations of github.com/opencontainers/image-spec, v1.1.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"

	annotationTag = "org.opencontainers.image.ref.name"
	// annotationName is what containerd, BuildKit and Podman read the whole
	// name from.
	annotationName = "io.containerd.image.name"
)

// descriptor and the types after it are those of image-spec, less what is
// never written here.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type config struct {
	Created string `json:"created"`
	platform
	Config struct {
		User         string              `json:"User,omitempty"`
		ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
		Env          []string            `json:"Env,omitempty"`
		Entrypoint   []string            `json:"Entrypoint,omitempty"`
		Cmd          []string            `json:"Cmd,omitempty"`
		WorkingDir   string              `json:"WorkingDir,omitempty"`
		Labels       map[string]string   `json:"Labels,omitempty"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	History []history `json:"history"`
}

type history struct {
	Created   string `json:"created"`
	CreatedBy string `json:"created_by"`
}

// dockerManifest is an entry of manifest.json, the format of `docker save`
// since 1.10.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// Build reads every file and lays images, which are one image for different
// platforms, out as one archive.
func Build(images ...Image) (*Archive, error) {
	if len(images) == 0 {
		return nil, errors.New("build image archive: no image given")
	}
	name, tag, err := canonical(images[0].Ref)
	if err != nil {
		return nil, err
	}
	blobs := map[string][]byte{}
	add := func(mediaType string, content []byte) descriptor {
		d := digest(content)
		blobs[d] = content
		return descriptor{MediaType: mediaType, Digest: d, Size: int64(len(content))}
	}

	var manifests []descriptor
	var docker []dockerManifest
	seen := map[Platform]bool{}
	for _, im := range images {
		switch {
		case im.Ref != images[0].Ref:
			return nil, fmt.Errorf("build image archive: it would hold %q and %q; one archive holds one name", images[0].Ref, im.Ref)
		case seen[im.Platform]:
			return nil, fmt.Errorf("build image %s: platform %s is given twice", im.Ref, im.Platform)
		}
		seen[im.Platform] = true
		m, conf, layer, err := im.build(add)
		if err != nil {
			return nil, fmt.Errorf("build image %s for %s: %w", im.Ref, im.Platform, err)
		}
		m.Platform = &platform{Architecture: im.Platform.Arch, OS: im.Platform.OS, Variant: im.Platform.Variant}
		manifests = append(manifests, m)
		docker = append(docker, dockerManifest{Config: blobName(conf.Digest), RepoTags: []string{name}, Layers: []string{blobName(layer.Digest)}})
	}

	// One name is one descriptor in index.json: of the manifest, or of an
	// index over the manifests of the platforms.
	top := manifests[0]
	if len(manifests) > 1 {
		slices.SortFunc(manifests, func(a, b descriptor) int {
			return cmp.Or(cmp.Compare(a.Platform.OS, b.Platform.OS), cmp.Compare(a.Platform.Architecture, b.Platform.Architecture), cmp.Compare(a.Platform.Variant, b.Platform.Variant))
		})
		top = add(typeIndex, encode(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: manifests, Annotations: images[0].Labels}))
	}
	top.Annotations = map[string]string{annotationName: name, annotationTag: tag}

	a := &Archive{digest: top.Digest, files: []archived{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", encode(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{top}})},
	}}
	if len(docker) == 1 { // Docker's format has no platforms: the last of several would win.
		a.files = append(a.files, archived{"manifest.json", encode(docker)})
	}
	for _, d := range slices.Sorted(maps.Keys(blobs)) {
		a.files = append(a.files, archived{blobName(d), blobs[d]})
	}
	return a, nil
}

func blobName(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// encode writes JSON with sorted keys. The types above cannot fail.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// build adds the blobs of one platform.
func (im Image) build(add func(mediaType string, content []byte) descriptor) (man, conf, layer descriptor, err error) {
	if err := im.check(); err != nil {
		return man, conf, layer, err
	}
	packed, diffID, err := im.layer()
	if err != nil {
		return man, conf, layer, err
	}
	layer = add(typeLayer, packed)

	created := im.created().Format(time.RFC3339)
	c := config{Created: created, platform: platform{Architecture: im.Platform.Arch, OS: im.Platform.OS, Variant: im.Platform.Variant}}
	c.Config.User, c.Config.Env = im.User, im.Env
	c.Config.Entrypoint, c.Config.Cmd = im.Entrypoint, im.Cmd
	c.Config.WorkingDir, c.Config.Labels = cmp.Or(im.WorkingDir, "/"), im.Labels
	for _, port := range im.ExposedPorts {
		if c.Config.ExposedPorts == nil {
			c.Config.ExposedPorts = map[string]struct{}{}
		}
		c.Config.ExposedPorts[port] = struct{}{}
	}
	c.RootFS.Type, c.RootFS.DiffIDs = "layers", []string{diffID}
	c.History = []history{{Created: created, CreatedBy: "noether/deploy/image"}}
	conf = add(typeConfig, encode(c))
	man = add(typeManifest, encode(manifest{SchemaVersion: 2, MediaType: typeManifest, Config: conf, Layers: []descriptor{layer}, Annotations: im.Labels}))
	return man, conf, layer, nil
}

func (im Image) created() time.Time {
	if im.Created.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return im.Created.UTC().Truncate(time.Second)
}

// Grammars: of ports and environment in image-spec's config.md, of the rest in
// github.com/distribution/reference. The whole grammar of references is wider
// (IPv6 registries, digests); what it has more cannot name an archive.
var (
	portPattern = regexp.MustCompile(`^[0-9]{1,5}(/(tcp|udp|sctp))?$`)
	wordPattern = regexp.MustCompile(`^[a-z0-9]+$`)
	refPattern  = regexp.MustCompile(`^(?:([a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?)/)?([a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*):([\w][\w.-]{0,127})$`)
)

// canonical returns the whole name of an image as every engine completes it,
// and its tag. A first part is a registry if it has a dot or a port, or is
// localhost.
func canonical(ref string) (name, tag string, err error) {
	m := refPattern.FindStringSubmatch(ref)
	if m == nil || len(ref) > 255 {
		return "", "", fmt.Errorf("name image %q: not NAME:TAG or REGISTRY/NAME:TAG with a name in lower case", ref)
	}
	registry, repository, tag := m[1], m[2], m[3]
	switch {
	case registry == "" && strings.Contains(repository, "/"): // a first part that no registry can have
		registry = "docker.io"
	case registry == "":
		registry, repository = "docker.io", "library/"+repository
	case !strings.ContainsAny(registry, ".:") && registry != "localhost":
		if registry != strings.ToLower(registry) {
			return "", "", fmt.Errorf("name image %q: %q is no registry, and names are in lower case", ref, registry)
		}
		registry, repository = "docker.io", registry+"/"+repository
	}
	if strings.Contains(registry, "..") {
		return "", "", fmt.Errorf("name image %q: %q is no registry", ref, registry)
	}
	return registry + "/" + repository + ":" + tag, tag, nil
}

// check refuses what would make an image that cannot be started, or that
// engines read differently.
func (im Image) check() error {
	switch {
	case !wordPattern.MatchString(im.Platform.OS) || !wordPattern.MatchString(im.Platform.Arch) || im.Platform.Variant != "" && !wordPattern.MatchString(im.Platform.Variant):
		return fmt.Errorf("read platform %q: want two or three words such as linux/amd64", im.Platform)
	case im.Created.Unix() < 0 && !im.Created.IsZero():
		return fmt.Errorf("read time of creation %s: it is before 1970", im.Created)
	case im.WorkingDir != "" && !isCleanAbsolute(im.WorkingDir):
		return fmt.Errorf("read working directory %q: not a clean absolute path", im.WorkingDir)
	case len(im.Entrypoint)+len(im.Cmd) == 0:
		return errors.New("read entry point: neither it nor a command is given, so that nothing could be started")
	}
	for _, port := range im.ExposedPorts {
		number, _, _ := strings.Cut(port, "/")
		if n, _ := strconv.Atoi(number); !portPattern.MatchString(port) || n < 1 || n > 65535 {
			return fmt.Errorf("read exposed port %q: want a number up to 65535, and perhaps /tcp, /udp or /sctp", port)
		}
	}
	for _, env := range im.Env {
		if key, _, ok := strings.Cut(env, "="); !ok || key == "" {
			return fmt.Errorf("read environment %q: want NAME=VALUE", key)
		}
	}
	return nil
}

func isCleanAbsolute(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && !strings.ContainsRune(p, 0)
}

// tree returns every entry of the layer, parents before children.
func (im Image) tree() ([]File, error) {
	entries := map[string]File{}
	for _, f := range im.Files {
		switch {
		case !isCleanAbsolute(f.Path) || f.Path == "/":
			return nil, fmt.Errorf("place file at %q: not a clean absolute path below /", f.Path)
		case strings.HasPrefix(path.Base(f.Path), ".wh."):
			return nil, fmt.Errorf("place file at %q: in a layer the prefix .wh. means a deleted file", f.Path)
		case f.Mode&^(fs.ModePerm|fs.ModeDir|fs.ModeSticky) != 0:
			return nil, fmt.Errorf("place file at %q: mode %v is of neither a plain file nor a directory", f.Path, f.Mode)
		case f.Mode.Perm() == 0:
			return nil, fmt.Errorf("place file at %q: mode 0: nobody could read it", f.Path)
		case f.UID < 0 || f.GID < 0 || f.UID > maxOwner || f.GID > maxOwner:
			return nil, fmt.Errorf("place file at %q: owner %d:%d is out of range", f.Path, f.UID, f.GID)
		case f.From != "" && f.Content != nil:
			return nil, fmt.Errorf("place file at %q: its content is given twice, and as the file %s", f.Path, f.From)
		case f.Mode.IsDir() && (f.From != "" || f.Content != nil):
			return nil, fmt.Errorf("place directory at %q: directories have no content", f.Path)
		}
		if _, twice := entries[f.Path]; twice {
			return nil, fmt.Errorf("place file at %q: it is given twice", f.Path)
		}
		entries[f.Path] = f
	}
	for _, f := range im.Files {
		for p := path.Dir(f.Path); p != "/"; p = path.Dir(p) {
			if above, ok := entries[p]; !ok {
				entries[p] = File{Path: p, Mode: fs.ModeDir | 0o755}
			} else if !above.Mode.IsDir() {
				return nil, fmt.Errorf("place file at %q: %s is a file, not a directory", f.Path, p)
			}
		}
	}
	return slices.SortedFunc(maps.Values(entries), func(a, b File) int { return cmp.Compare(a.Path, b.Path) }), nil
}

// maxOwner is the largest number that tar's octal field of owners holds.
const maxOwner = 1<<21 - 1

// layer returns the image's only layer, compressed, and the digest of it
// before compression.
func (im Image) layer() (packed []byte, diffID string, err error) {
	entries, err := im.tree()
	if err != nil {
		return nil, "", err
	}
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf) // its header holds neither time nor system
	plain := &hashingWriter{w: zw, h: sha256.New()}
	tw := tar.NewWriter(plain)
	for _, f := range entries {
		if err := f.writeTo(tw, im.created()); err != nil {
			return nil, "", fmt.Errorf("add %s: %w", f.Path, err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		return nil, "", fmt.Errorf("end layer: %w", err)
	}
	return buf.Bytes(), "sha256:" + hex.EncodeToString(plain.h.Sum(nil)), nil
}

type hashingWriter struct {
	w io.Writer
	h hash.Hash
}

func (h *hashingWriter) Write(p []byte) (int, error) {
	h.h.Write(p)
	return h.w.Write(p)
}

func (f File) writeTo(tw *tar.Writer, created time.Time) error {
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.Path, "/"), Mode: int64(f.Mode.Perm()),
		Uid: f.UID, Gid: f.GID, ModTime: created, Size: int64(len(f.Content)),
	}
	if f.Mode&fs.ModeSticky != 0 {
		header.Mode |= 0o1000 // S_ISVTX, of POSIX' pax(1)
	}
	if f.Mode.IsDir() {
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		return tw.WriteHeader(header)
	}
	if f.From == "" {
		if err := tw.WriteHeader(header); err != nil {
			return err
		}
		_, err := tw.Write(f.Content)
		return err
	}
	file, err := os.Open(f.From)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it was only read
	st, err := file.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("read %s: it is no regular file", f.From)
	}
	header.Size = st.Size()
	if err := tw.WriteHeader(header); err != nil {
		return err
	}
	// A file that shrinks or grows meanwhile is an error of the tar writer.
	n, err := io.Copy(tw, file)
	if err == nil && n != header.Size {
		err = errors.New("its size changed")
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", f.From, err)
	}
	return nil
}
