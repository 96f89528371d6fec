package kube

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"noether/internal/probe"
)

// explain returns err with what can be done about it.
func (a *api) explain(err error) error {
	remedy := "is the API server running, and may this pod reach it (NetworkPolicy, hostNetwork)? What is known stays valid meanwhile"
	status := probe.Broken
	switch {
	case apierrors.IsForbidden(err):
		status = probe.Forbidden
		remedy = `grant it: a ClusterRole with {apiGroups: [""], resources: [pods], verbs: [list, watch]} and {apiGroups: [""], resources: [nodes], verbs: [get]}, bound to the agent's service account`
	case apierrors.IsUnauthorized(err):
		status = probe.Forbidden
		remedy = "the token or certificate is not valid (any more): see --kube-token-file and --kube-config"
	case apierrors.IsNotFound(err):
		remedy = "set --node-name to this machine's name in: kubectl get nodes"
	case isToken(err):
		remedy = tokenRemedy
	case isTLS(err):
		remedy = tlsRemedy(err, "the certificate-authority of --kube-config, or the service account's ca.crt,")
	}
	return &probe.Error{Status: status, Remedy: remedy, Err: fmt.Errorf("asking the Kubernetes API at %s: %w", a.url, err)}
}

const tokenRemedy = "see --kube-token-file: the token is read from there again and again"

// isToken reports whether there was no token to ask with. The client has no
// type for that.
func isToken(err error) bool {
	text := err.Error()
	return strings.Contains(text, "failed to read token file") || strings.Contains(text, "read empty token from file")
}

// isTLS reports whether the two sides could not agree who the other is.
func isTLS(err error) bool {
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(err, &verification) || errors.As(err, &record)
}

// tlsRemedy says what to do about a certificate; authority names who must have signed it.
func tlsRemedy(err error, authority string) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return authority + " did not sign the server's certificate"
	case errors.As(err, &name):
		return "ask by a name or address that the certificate is for"
	case errors.As(err, &invalid):
		return "the server's certificate is not valid (any more): renew it, and compare the clocks"
	default:
		return "does the address lead to an https server?"
	}
}
