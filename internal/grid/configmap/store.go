package configmap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// Kinds returns the objects that the client given to a Store must know.
func Kinds() map[string]runtime.Object {
	return map[string]runtime.Object{"ConfigMap": &ConfigMap{}}
}

// requestTimeout is of one request to the API server.
const requestTimeout = 15 * time.Second

// Store keeps one ConfigMap. One goroutine uses it at a time.
type Store struct {
	client rest.Interface
	url    string
	name   Name
}

// NewStore returns a store of name in the cluster whose API is at url.
func NewStore(client rest.Interface, url string, name Name) *Store {
	return &Store{client: client, url: url, name: name}
}

// Put writes c. An immutable ConfigMap is deleted and made anew, as nothing
// else is possible; one that is not stays so and is replaced at once.
func (s *Store) Put(ctx context.Context, c *ConfigMap) error {
	ctx, cancel := context.WithTimeout(ctx, 3*requestTimeout)
	defer cancel()
	old, err := s.get(ctx)
	if err != nil {
		return s.explain("read", err)
	}
	return s.write(ctx, old, c)
}

// Note writes into the ConfigMap why it is not newer, and that somebody still
// looks after it. The forecast in it stays. It does nothing if there is none.
func (s *Store) Note(ctx context.Context, text string, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, 3*requestTimeout)
	defer cancel()
	old, err := s.get(ctx)
	if err != nil {
		return s.explain("read", err)
	}
	if old == nil {
		return nil
	}
	c := *old
	c.Metadata = Meta{Name: s.name.Name, Namespace: s.name.Namespace, Labels: old.Metadata.Labels}
	c.Data = maps.Clone(old.Data)
	if c.Data == nil {
		c.Data = map[string]string{}
	}
	c.Data[message], c.Data[lastHeartbeatTime] = text, heartbeat(now)
	return s.write(ctx, old, &c)
}

func (s *Store) get(ctx context.Context) (*ConfigMap, error) {
	c := new(ConfigMap)
	err := s.client.Get().Namespace(s.name.Namespace).Resource("configmaps").Name(s.name.Name).Timeout(requestTimeout).Do(ctx).Into(c)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // there is none, and that is no failure
	case err != nil:
		return nil, err
	}
	return c, nil
}

func (s *Store) write(ctx context.Context, old, c *ConfigMap) error {
	switch {
	case old == nil:
		return s.create(ctx, c)
	case !old.ours():
		return fmt.Errorf("replace ConfigMap %s: it holds something else than a forecast: choose another name with --configmap, or delete it", s.name)
	case old.Immutable == nil || !*old.Immutable:
		replacement := *c
		replacement.Immutable = old.Immutable
		replacement.Metadata.UID, replacement.Metadata.ResourceVersion = old.Metadata.UID, old.Metadata.ResourceVersion
		err := s.client.Put().Namespace(s.name.Namespace).Resource("configmaps").Name(s.name.Name).Timeout(requestTimeout).Body(&replacement).Do(ctx).Error()
		if err != nil {
			return s.explain("replace", err)
		}
		return nil
	}
	uid := types.UID(old.Metadata.UID)
	err := s.client.Delete().Namespace(s.name.Namespace).Resource("configmaps").Name(s.name.Name).Timeout(requestTimeout).
		Body(&metav1.DeleteOptions{
			TypeMeta:      metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
			Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &old.Metadata.ResourceVersion},
		}).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) {
		return s.explain("delete", err)
	}
	return s.create(ctx, c)
}

func (s *Store) create(ctx context.Context, c *ConfigMap) error {
	err := s.client.Post().Namespace(s.name.Namespace).Resource("configmaps").Timeout(requestTimeout).Body(c).Do(ctx).Error()
	if err != nil {
		return s.explain("create", err)
	}
	return nil
}

// explain returns err with what can be done about it.
func (s *Store) explain(verb string, err error) error {
	remedy := ""
	switch {
	case apierrors.IsForbidden(err):
		remedy = fmt.Sprintf(`: grant it: a Role in namespace %s with {apiGroups: [""], resources: [configmaps], verbs: [get, create, update, delete]}, bound to the service account that noether runs as`, s.name.Namespace)
	case apierrors.IsUnauthorized(err):
		remedy = ": the token or certificate is not valid (any more): see --kube-token-file and --kube-config"
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		remedy = ": somebody else writes it too: run one exporter for each ConfigMap"
	case apierrors.IsNotFound(err):
		remedy = fmt.Sprintf(": is there a namespace %s?", s.name.Namespace)
	case errors.Is(err, context.DeadlineExceeded):
		remedy = ": is the API server running, and may this pod reach it?"
	}
	return fmt.Errorf("%s ConfigMap %s at %s: %w%s", verb, s.name, s.url, err, remedy)
}
