//! Which changes make a cluster have the topics that are wanted: looked up first, so that they can be shown, and made one by one.

use serde_json::{Value, json};
use ureq::http::Method;

use super::admin::{Admin, AdminError, quota_path, topic_path};
use super::schema::{self, Schema};
use crate::log::LogError;
use crate::topic::{TopicName, TopicSpec};

/// The topics that are wanted.
#[derive(Debug, Clone)]
pub struct TopicsPlan {
    topics: Vec<Wanted>,
}

#[derive(Debug, Clone)]
struct Wanted {
    topic: TopicName,
    /// How many partitions; `None` takes those that are there.
    partitions: Option<u32>,
    spec: TopicSpec,
    schema: Option<Schema>,
}

/// What a plan finds in a cluster.
#[derive(Debug, Clone)]
pub struct Findings {
    /// What is missing.
    pub changes: Vec<Change>,
    /// What is there, differs and is left so: the subject, and what is to be known.
    pub notes: Vec<(String, String)>,
}

/// One change to a cluster.
#[derive(Debug, Clone)]
pub struct Change {
    subject: String,
    what: String,
    method: Method,
    path: String,
    body: Option<Value>,
}

impl Change {
    /// What is changed, and to what.
    #[must_use]
    pub fn describe(&self) -> (&str, &str) {
        (&self.subject, &self.what)
    }

    /// Makes the change.
    ///
    /// # Errors
    /// The cluster cannot be reached or refuses.
    pub fn carry_out(&self, admin: &Admin) -> Result<(), AdminError> {
        match admin.send(&self.method, &self.path, self.body.as_ref()) {
            // Somebody else made it just now.
            Ok(_) | Err(AdminError::Refused { status: 409, .. }) if self.method == Method::PUT => Ok(()),
            done => done.map(drop),
        }
    }
}

impl TopicsPlan {
    /// The three topics of ingest with these settings of the raw records. Without a number of partitions they get as many as
    /// are there, or as `spec` says.
    #[must_use]
    pub fn ingest(spec: TopicSpec, partitions: Option<u32>) -> TopicsPlan {
        let outputs = TopicSpec::vector_indexed(spec.partitions);
        let topics = vec![
            Wanted { topic: TopicName::raw_events(), partitions, spec, schema: Some(schema::raw_events()) },
            Wanted {
                topic: TopicName::vector_indexed(),
                partitions,
                spec: outputs,
                schema: Some(schema::vector_indexed()),
            },
            Wanted { topic: TopicName::dead_letters(), partitions, spec: outputs, schema: None },
        ];
        TopicsPlan { topics }
    }

    /// One topic.
    #[must_use]
    pub fn of(topic: TopicName, spec: TopicSpec) -> TopicsPlan {
        TopicsPlan { topics: vec![Wanted { topic, partitions: Some(spec.partitions), spec, schema: None }] }
    }

    /// Looks up what is missing.
    ///
    /// # Errors
    /// The cluster cannot be reached, has a topic with another number of partitions, or with a schema that is not compatible.
    pub fn changes(&self, admin: &Admin) -> Result<Vec<Change>, LogError> {
        Ok(self.look(admin)?.changes)
    }

    /// Looks up what is missing, and what is there that is not as it was made.
    ///
    /// # Errors
    /// See [`changes`](TopicsPlan::changes).
    pub fn look(&self, admin: &Admin) -> Result<Findings, LogError> {
        let (mut changes, mut notes) = (Vec::new(), Vec::new());
        let mut spaces: Vec<(&str, &str)> = Vec::new();
        for wanted in &self.topics {
            let space = (wanted.topic.tenant(), wanted.topic.namespace());
            if !spaces.contains(&space) {
                spaces.push(space);
                add_namespace(admin, space, &mut changes)?;
            }
        }
        // Events and letters go to the partition of their record's number.
        let mut partitions = None;
        for wanted in &self.topics {
            let there = partitions_there(admin, &wanted.topic)?;
            let asked = wanted.partitions.or(partitions).or(there).unwrap_or(wanted.spec.partitions);
            partitions = Some(asked);
            wanted.add(admin, there, asked, &mut changes)?;
            wanted.add_schema(admin, there.is_some(), &mut changes, &mut notes)?;
        }
        Ok(Findings { changes, notes })
    }

    /// Makes all changes that are missing.
    ///
    /// # Errors
    /// See [`changes`](TopicsPlan::changes); or the cluster refuses.
    pub fn carry_out(&self, admin: &Admin) -> Result<(), LogError> {
        for change in self.changes(admin)? {
            change.carry_out(admin)?;
        }
        Ok(())
    }
}

impl Wanted {
    fn add(
        &self,
        admin: &Admin,
        there: Option<u32>,
        asked: u32,
        changes: &mut Vec<Change>,
    ) -> Result<(), LogError> {
        let (topic, path) = (&self.topic, topic_path(&self.topic));
        let mut change = |what: String, method: Method, path: String, body: Option<Value>| {
            changes.push(Change { subject: topic.to_string(), what, method, path, body });
        };
        match there {
            None => {
                let what = format!("new, {asked} partitions");
                change(what, Method::PUT, format!("{path}/partitions"), Some(json!(asked)));
            }
            Some(there) if there != asked => {
                return Err(LogError::Partitions { topic: topic.clone(), there, asked });
            }
            Some(_) => {}
        }
        let setting = |name: &str| -> Result<Value, AdminError> {
            if there.is_none() { Ok(Value::Null) } else { Ok(admin.get(name)?.unwrap_or_default()) }
        };
        let retention = self.retention();
        if setting(&format!("{path}/retention"))? != retention {
            let what = format!("kept {}", kept(&retention));
            change(what, Method::POST, format!("{path}/retention"), Some(retention));
        }
        let quota = setting(&format!("{path}/backlogQuotaMap"))?;
        let quota = quota.get("destination_storage").cloned().unwrap_or_default();
        match self.spec.backlog_bytes_max {
            Some(bytes) => {
                let wanted = json!({"limitSize": bytes, "limitTime": -1, "policy": "producer_request_hold"});
                let is_as_wanted = ["limitSize", "limitTime", "policy"]
                    .iter()
                    .all(|name| quota.get(name) == wanted.get(name));
                if !is_as_wanted {
                    let what = format!("producers held at {} MiB a partition", bytes >> 20);
                    change(what, Method::POST, quota_path(topic), Some(wanted));
                }
            }
            None if !quota.is_null() => {
                change("producers never held".to_owned(), Method::DELETE, quota_path(topic), None);
            }
            None => {}
        }
        // What a producer sends again after an outage is taken once.
        if setting(&format!("{path}/deduplicationEnabled"))? != json!(true) {
            let path = format!("{path}/deduplicationEnabled");
            change("deduplication on".to_owned(), Method::POST, path, Some(json!(true)));
        }
        Ok(())
    }

    fn add_schema(
        &self,
        admin: &Admin,
        is_there: bool,
        changes: &mut Vec<Change>,
        notes: &mut Vec<(String, String)>,
    ) -> Result<(), LogError> {
        let Some(schema) = &self.schema else { return Ok(()) };
        let (topic, kind) = (&self.topic, schema.kind);
        let what = match if is_there { schema.registered(admin, topic)? } else { schema::Registered::Nothing }
        {
            schema::Registered::Ours => return Ok(()),
            schema::Registered::Later { version, more } => {
                let note = format!(
                    "schema {kind} version {version} is later than ours{more}; it stays, and such records are taken"
                );
                notes.push((topic.to_string(), note));
                return Ok(());
            }
            schema::Registered::Nothing => format!("schema {kind}"),
            schema::Registered::Earlier { version } => format!("schema {kind}, over version {version}"),
        };
        let path = format!("{}/schema", schema::path(topic));
        let (subject, body) = (topic.to_string(), Some(schema.body()));
        changes.push(Change { subject, what, method: Method::POST, path, body });
        Ok(())
    }

    fn retention(&self) -> Value {
        let number = |value: Option<u64>, unit: u64| {
            value.map_or(-1, |value| i64::try_from(value.div_ceil(unit)).unwrap_or(i64::MAX))
        };
        json!({
            "retentionTimeInMinutes": number(self.spec.retention_ms, 60_000),
            "retentionSizeInMB": number(self.spec.retention_bytes, 1 << 20),
        })
    }
}

fn kept(retention: &Value) -> String {
    match retention.get("retentionTimeInMinutes").and_then(Value::as_i64) {
        Some(minutes) if minutes >= 0 => format!("{} h", minutes / 60),
        _ => "for ever".to_owned(),
    }
}

fn add_namespace(
    admin: &Admin,
    (tenant, namespace): (&str, &str),
    changes: &mut Vec<Change>,
) -> Result<(), LogError> {
    let tenant_path = format!("tenants/{tenant}");
    let has_tenant = admin.get(&tenant_path)?.is_some();
    if !has_tenant {
        let clusters = admin.get("clusters")?.unwrap_or_default();
        // `global` is a name for all of them, not one.
        let clusters: Vec<&Value> =
            clusters.as_array().into_iter().flatten().filter(|name| **name != json!("global")).collect();
        changes.push(Change {
            subject: format!("tenant {tenant}"),
            what: "new".to_owned(),
            method: Method::PUT,
            path: tenant_path,
            body: Some(json!({"adminRoles": [], "allowedClusters": clusters})),
        });
    }
    let path = format!("namespaces/{tenant}/{namespace}");
    if !has_tenant || admin.get(&path)?.is_none() {
        changes.push(Change {
            subject: format!("namespace {tenant}/{namespace}"),
            what: "new".to_owned(),
            method: Method::PUT,
            path,
            body: None,
        });
    }
    Ok(())
}

fn partitions_there(admin: &Admin, topic: &TopicName) -> Result<Option<u32>, AdminError> {
    let found = admin.get(&format!("{}/partitions", topic_path(topic)))?;
    let partitions = found.as_ref().and_then(|found| found.get("partitions")).and_then(Value::as_u64);
    Ok(partitions.and_then(|partitions| u32::try_from(partitions).ok()).filter(|partitions| *partitions > 0))
}
