//! Every route in one table: the router, the authorisation matrix and the OpenAPI document are made of it, so a route
//! that is not declared here does not exist.

use super::auth::{self, Access, Role};
use super::call::Call;
use super::problem::Problem;
use super::{Site, api, page, probes, web};
use crate::dispatch::workflow::Workflow;
use crate::telemetry::span;
use axum::RequestExt;
use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use bytes::{Bytes, BytesMut};
use schemars::{Schema, SchemaGenerator};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::codegen::tokio_stream::StreamExt;
use tracing::Instrument;

/// What a request may take when a route does not say.
const SMALL: Limits = Limits { body: 64 << 10, time: Duration::from_secs(30) };
/// What a request with a whole policy in it may take. Files that are no text grow by a third on their way.
const POLICY: Limits = Limits { body: 96 << 20, time: Duration::from_secs(300) };
/// What a request may take that compiles a policy of the store.
const LONG: Limits = Limits { time: POLICY.time, ..SMALL };
/// What a request that names many envoys may take.
const LISTED: Limits = Limits { body: 8 << 20, ..SMALL };
/// What a request with a secret in it may take.
const SECRET: Limits = Limits { body: api::secrets::MAX_BODY, ..SMALL };

/// What a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the body.
    pub body: usize,
    /// From the end of the head to the end of the answer, the body included.
    pub time: Duration,
}

/// Methods in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Changes nothing.
    Get,
    /// Changes something.
    Post,
}

impl Method {
    /// As HTTP writes it.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
        }
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;
type Handler = fn(Call) -> Answering;
/// The schema of a type.
pub type Describe = fn(&mut SchemaGenerator) -> Schema;

/// A route.
#[derive(Clone, Copy)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// What it requires.
    pub access: Access,
    /// What it may take.
    pub limits: Limits,
    /// What the OpenAPI document says of it; `None` for pages.
    pub doc: Option<Doc>,
    handler: Handler,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {:?}", self.method.name(), self.path, self.access)
    }
}

/// What the OpenAPI document says of a route.
#[derive(Clone, Copy)]
pub struct Doc {
    /// The name of the operation.
    pub id: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The parameters of the query.
    pub query: Option<Describe>,
    /// The body.
    pub body: Option<Describe>,
    /// The status when it worked.
    pub status: u16,
    /// The answer then: its media type, and its schema when it is JSON.
    pub answer: (&'static str, Option<Describe>),
}

macro_rules! describe {
    ($type:ty) => {
        Some(|generator| generator.subschema_for::<$type>())
    };
}

macro_rules! routes {
    ($($method:ident $path:literal, $access:expr, $handler:path $(as $limits:ident)? $(, $id:literal, $summary:literal
        $(, query $query:ty)? $(, body $body:ty)?, $status:literal [$($answer:tt)*])?;)*) => {
        &[$(Route {
            method: Method::$method,
            path: $path,
            access: $access,
            limits: routes!(@limits $($limits)?),
            doc: routes!(@doc $($id, $summary $(, query $query)? $(, body $body)?, $status [$($answer)*])?),
            handler: |call| Box::pin($handler(call)),
        }),*]
    };
    (@limits) => { SMALL };
    (@limits $limits:ident) => { $limits };
    (@doc) => { None };
    (@doc $id:literal, $summary:literal $(, query $query:ty)? $(, body $body:ty)?, $status:literal [$($answer:tt)*]) => {
        Some(Doc {
            id: $id,
            summary: $summary,
            query: routes!(@maybe $($query)?),
            body: routes!(@maybe $($body)?),
            status: $status,
            answer: routes!(@answer $($answer)*),
        })
    };
    (@answer json $type:ty) => { ("application/json", describe!($type)) };
    (@answer text $kind:literal) => { ($kind, None) };
    (@maybe) => { None };
    (@maybe $type:ty) => { describe!($type) };
}

const ANYBODY: Access = Access::Public;
const VIEWER: Access = Access::Token(Role::Viewer);
const OPERATOR: Access = Access::Token(Role::Operator);
const ADMIN: Access = Access::Token(Role::Admin);
const PAGE: Access = Access::Page;

/// Every route there is.
pub const ROUTES: &[Route] = routes! {
    Get "/healthz", ANYBODY, probes::healthz, "healthz", "Whether the process answers", 200 [text "text/plain"];
    Get "/readyz", ANYBODY, probes::readyz, "readyz", "Whether it serves a policy, with reasons", 200 [json probes::Readiness];
    Get "/version", ANYBODY, probes::version, "version", "Which version it is", 200 [json probes::Version];
    Get "/bootstrap", ANYBODY, probes::bootstrap, "bootstrap", "The CA's certificate and hash, to compare before enrolment",
        200 [json probes::Bootstrap];
    Get "/metrics", VIEWER, probes::metrics, "metrics", "Metrics in the Prometheus text format", 200 [text "text/plain"];
    Get "/api/v1/openapi.json", ANYBODY, api::openapi, "openapi", "This document", 200 [json serde_json::Value];

    Get "/api/v1/envoys", VIEWER, api::envoys::list, "listEnvoys", "Active envoys by host name, filtered by what they are",
        query api::envoys::Filter, 200 [json page::Page<api::envoys::Envoy>];
    Get "/api/v1/envoys/{envoy}", VIEWER, api::envoys::show, "showEnvoy",
        "One envoy: its traits, its latest runs, and the modules and resources of its last one",
        200 [json api::envoys::Detail];
    Post "/api/v1/envoys/{envoy}/revoke", OPERATOR, api::envoys::revoke, "revokeEnvoy",
        "Take an envoy's place away; its certificate is good for nothing from then on", 200 [json api::envoys::Revoked];
    Post "/api/v1/envoys/{envoy}/push", OPERATOR, api::envoys::push, "pushEnvoy",
        "Send an envoy its bundle again, changed or not: at once when it has a stream, at its next check-in otherwise", 202 [json api::envoys::Pushed];
    Get "/api/v1/envoys/{envoy}/runs/{run}", VIEWER, api::runs::show, "showRun", "One run with what became of each resource",
        200 [json api::runs::Detail];
    Get "/api/v1/runs", VIEWER, api::runs::list, "listRuns", "Runs of the fleet or of one envoy, the latest first",
        query api::runs::Filter, 200 [json page::Page<api::runs::Run>];

    Get "/api/v1/compliance", VIEWER, api::compliance::now, "compliance",
        "Compliance of the fleet, and of each environment, role and module", 200 [json api::compliance::Compliance];
    Get "/api/v1/compliance/history", VIEWER, api::compliance::history, "complianceHistory",
        "Compliance of the fleet over time, the oldest first", query api::compliance::Since,
        200 [json page::Page<api::compliance::Sample>];

    Get "/api/v1/tasks", VIEWER, api::tasks::list, "listTasks", "Tasks, the latest first",
        query page::Latest, 200 [json page::Page<api::tasks::Task>];
    Post "/api/v1/tasks", OPERATOR, api::tasks::create as LISTED, "createTask",
        "Run a command on envoys, or ask them for traits; each envoy is answered at once as online, promotable or offline",
        body api::tasks::Create, 201 [json api::tasks::Created];
    Get "/api/v1/tasks/{task}", VIEWER, api::tasks::show, "showTask", "One task, and what came of it on each envoy",
        200 [json api::tasks::Detail];
    Post "/api/v1/tasks/{task}/cancel", OPERATOR, api::tasks::cancel, "cancelTask",
        "Take a task back: envoys that have not begun it never will, and those that have kill it with its process group",
        202 [json api::tasks::Cancelled];
    Get "/api/v1/tasks/{task}/output/{envoy}", OPERATOR, api::tasks::output, "taskOutput",
        "What a task wrote on one envoy, as far as it came; the envoy by its id",
        query api::tasks::OutputFilter, 200 [json api::tasks::Output];
    Get "/api/v1/workflows", VIEWER, api::workflows::list, "listWorkflows", "Workflows, the latest first",
        query page::Latest, 200 [json page::Page<api::workflows::Brief>];
    Post "/api/v1/workflows", OPERATOR, api::workflows::create as LISTED, "createWorkflow",
        "Run tasks in order, on a batch of envoys after the other", body Workflow, 201 [json api::workflows::Detail];
    Get "/api/v1/workflows/{workflow}", VIEWER, api::workflows::show, "showWorkflow", "One workflow with its tasks",
        200 [json api::workflows::Detail];
    Post "/api/v1/workflows/{workflow}/cancel", OPERATOR, api::workflows::cancel, "cancelWorkflow",
        "Take a workflow back: nothing further is begun, and its tasks are cancelled", 202 [json api::workflows::Detail];

    Get "/api/v1/releases", VIEWER, api::releases::list, "listReleases", "Published policies, the latest first",
        query api::releases::Filter, 200 [json page::Page<api::releases::Release>];
    Post "/api/v1/releases", OPERATOR, api::releases::publish as POLICY, "publish",
        "Check a policy, compute what every known envoy gets, and publish it, or only say what that would do",
        body api::releases::Publish, 200 [json api::releases::Done];
    Get "/api/v1/releases/{serial}", VIEWER, api::releases::show, "showRelease",
        "One release: its files, what changed, and which envoys got something else",
        200 [json api::releases::Detail];
    Get "/api/v1/releases/{serial}/diff", VIEWER, api::releases::diff, "diffReleases",
        "What differs between two releases, line by line", query api::releases::Against,
        200 [json api::releases::Difference];
    Post "/api/v1/releases/{serial}/rollback", OPERATOR, api::releases::rollback as LONG, "rollback",
        "Publish the policy of an older release again, under a new serial", body api::releases::Rollback,
        200 [json api::releases::Done];
    Get "/api/v1/publishing", VIEWER, api::releases::publishing, "publishing",
        "Whether publishing is frozen, and whether a policy was refused since the latest release",
        200 [json api::releases::State];
    Post "/api/v1/publishing/freeze", OPERATOR, api::releases::freeze, "freeze",
        "Let nothing be published until some time", body api::releases::FreezeUntil, 200 [json api::releases::Frozen];
    Post "/api/v1/publishing/unfreeze", OPERATOR, api::releases::unfreeze, "unfreeze",
        "Let policies be published again", 200 [json api::releases::State];

    Get "/api/v1/tokens", OPERATOR, api::tokens::list, "listTokens", "Enrolment tokens, the latest first",
        200 [json page::Page<api::tokens::Token>];
    Post "/api/v1/tokens", OPERATOR, api::tokens::create, "createToken",
        "Make a token that lets one host enrol; the token itself is shown in this answer only",
        body api::tokens::Create, 201 [json api::tokens::Created];
    Post "/api/v1/tokens/{id}/revoke", OPERATOR, api::tokens::revoke, "revokeToken", "Take an enrolment token back",
        200 [json api::RevokedToken];

    Get "/api/v1/api-tokens", ADMIN, api::api_tokens::list, "listApiTokens", "API tokens, the latest first",
        200 [json page::Page<api::api_tokens::ApiToken>];
    Post "/api/v1/api-tokens", ADMIN, api::api_tokens::create, "createApiToken",
        "Make an API token; the token itself is shown in this answer only", body api::api_tokens::Create,
        201 [json api::api_tokens::Created];
    Post "/api/v1/api-tokens/{id}/revoke", ADMIN, api::api_tokens::revoke, "revokeApiToken", "Take an API token back",
        200 [json api::RevokedToken];

    Get "/api/v1/secrets", ADMIN, api::secrets::list, "listSecrets",
        "Names of the secrets that the server keeps itself; values never come back",
        200 [json page::Page<api::secrets::Secret>];
    Post "/api/v1/secrets", ADMIN, api::secrets::set as SECRET, "setSecret",
        "Store a value; exactly the envoys that use it get it, at their next check-in",
        body api::secrets::Set, 200 [json api::secrets::Stored];
    Post "/api/v1/secrets/remove", ADMIN, api::secrets::remove, "removeSecret", "Take a secret away",
        body api::secrets::Remove, 200 [json api::secrets::Removed];

    Get "/api/v1/audit", ADMIN, api::audit::list, "listAudit", "Who changed what, the latest first",
        query api::audit::Filter, 200 [json page::Page<api::audit::Entry>];
    Get "/api/v1/audit/verify", ADMIN, api::audit::verify, "verifyAudit", "Whether the audit log was tampered with",
        200 [json api::audit::Verdict];

    Get "/assets/vigo.css", ANYBODY, web::style;
    Get "/login", ANYBODY, web::login_page;
    Post "/login", ANYBODY, web::login;
    Post "/logout", ANYBODY, web::logout;
    Get "/", PAGE, web::fleet::page;
    Get "/envoys/{envoy}", PAGE, web::envoy::page;
    Get "/envoys/{envoy}/graph", PAGE, web::graph::page;
    Get "/envoys/{envoy}/runs/{run}", PAGE, web::envoy::run_page;
    Get "/tasks", PAGE, web::tasks::page;
    Get "/tasks/{task}", PAGE, web::tasks::one;
    Get "/workflows/{workflow}", PAGE, web::tasks::workflow;
    Get "/releases", PAGE, web::releases::page;
    Get "/releases/{serial}", PAGE, web::releases::one;
};

/// The router of the table.
pub(super) fn router(site: Arc<Site>) -> Router {
    let mut router = Router::new();
    for same in ROUTES.chunk_by(|a, b| a.path == b.path) {
        let methods = same.iter().fold(MethodRouter::new(), |methods, route| {
            let site = site.clone();
            let handler = move |request: Request| dispatch(site, route, request);
            let filter = match route.method {
                Method::Get => MethodFilter::GET,
                Method::Post => MethodFilter::POST,
            };
            methods.merge(on(filter, handler))
        });
        let refuse = |request: Request| async move {
            let detail = format!("`{}` takes another method than {}", request.uri().path(), request.method());
            finish(Problem::method_not_allowed(detail).into_response(), false)
        };
        router = same
            .iter()
            .take(1)
            .fold(router, |router, route| router.route(route.path, methods.clone().fallback(refuse)));
    }
    router.fallback(|request: Request| async move {
        let detail = format!("`{}` is no path of this server", request.uri().path());
        finish(Problem::not_found(detail).into_response(), false)
    })
}

async fn dispatch(site: Arc<Site>, route: &'static Route, request: Request) -> Response {
    let started = Instant::now();
    let span = span!("http", route = route.path, method = route.method.name(), status);
    let answer = answer(&site, route, request).instrument(span.clone());
    let answered = tokio::time::timeout(route.limits.time, answer).await;
    let page = route.access == Access::Page;
    let response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) if page && problem.status == 401 => Redirect::to("/login").into_response(),
        Ok(Err(problem)) if page => web::problem(&problem),
        Ok(Err(problem)) => problem.into_response(),
        Err(_) => Problem::timeout().into_response(),
    };
    span.record("status", response.status().as_u16());
    site.context.metrics.http(route.path, response.status().as_u16(), started.elapsed());
    finish(response, true)
}

async fn answer(site: &Arc<Site>, route: &Route, mut request: Request) -> Result<Response, Problem> {
    let caller = auth::authorise(site, route.access, request.headers()).await?;
    let params = request
        .extract_parts::<RawPathParams>()
        .await
        .map_err(|e| Problem::invalid(format!("the path: {e}")))?
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let (parts, body) = request.into_parts();
    let encodings = parts.headers.get_all(header::CONTENT_ENCODING);
    if encodings.iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        hear_out(body.into_data_stream()).await;
        return Err(Problem::packed());
    }
    let limit = route.limits.body;
    // Large ones are in memory as a whole, so there is one after the other.
    let _large = match limit > SMALL.body {
        true => site.large.acquire().await.ok(),
        false => None,
    };
    let body = read(body, limit).await?;
    let (uri, headers) = (parts.uri, parts.headers);
    (route.handler)(Call { site: site.clone(), caller, params, uri, headers, body }).await
}

/// What of a refused body is read and thrown away: who is still writing when the connection ends does not see the answer.
const HEARD_OUT: usize = 1 << 20;

async fn read(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::cut_off())?;
        if whole.len() + chunk.len() > limit {
            drop(whole);
            hear_out(chunks).await;
            return Err(Problem::too_large(limit));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

async fn hear_out(mut chunks: BodyDataStream) {
    let mut heard = 0;
    while heard < HEARD_OUT
        && let Some(Ok(chunk)) = chunks.next().await
    {
        heard += chunk.len();
    }
}

/// What every answer says to browsers: run no script, load nothing from elsewhere, be framed by nobody, keep nothing.
fn finish(mut response: Response, known: bool) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                          base-uri 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "no-referrer");
    if !known || !response.headers().contains_key(header::CACHE_CONTROL) {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn case_045_every_route_is_declared_once_and_whatever_writes_needs_more_than_a_viewer() {
        let mut seen = BTreeSet::new();
        for route in ROUTES {
            assert!(seen.insert((route.path, route.method)), "{route:?} twice");
            let api = route.path.starts_with("/api/");
            assert_eq!(
                route.doc.is_none(),
                !api && !route.path.ends_with('z') && !probe(route.path),
                "{route:?}"
            );
            match (route.method, route.access) {
                (Method::Post, Access::Public) => assert!(["/login", "/logout"].contains(&route.path)),
                (Method::Post, access) => assert!(
                    access == OPERATOR || access == ADMIN,
                    "{route:?} changes something, so a viewer must not call it"
                ),
                (Method::Get, Access::Public) => assert!(
                    !api || route.path == "/api/v1/openapi.json",
                    "{route:?} shows something of the fleet"
                ),
                _ => {}
            }
        }
        fn probe(path: &str) -> bool {
            ["/version", "/bootstrap", "/metrics"].contains(&path)
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let ids: Vec<&str> = ROUTES.iter().filter_map(|r| r.doc.map(|d| d.id)).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }
}
