//! Checks JSON against the part of JSON Schema that the OpenAPI document uses.

use serde_json::Value;

/// The OpenAPI document.
pub struct Document(pub Value);

impl Document {
    pub fn load() -> Document {
        Document(serde_json::from_str(include_str!("../../openapi.json")).unwrap())
    }

    /// Checks one exchange; returns what is wrong. Paths that the document does not have are passed over.
    pub fn check(&self, method: &str, path: &str, body: &str, status: u16, reply: &Value) -> Option<String> {
        let operation = self.operation(method, path)?;
        if status == 200 {
            let content = &operation["responses"]["200"]["content"];
            if let Some(schema) = content.get("application/json").map(|content| &content["schema"])
                && let Err(problem) = self.validate(schema, reply, "reply")
            {
                return Some(problem);
            }
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if let (false, Ok(body)) = (schema.is_null(), serde_json::from_str::<Value>(body))
                && let Err(problem) = self.validate(schema, &body, "body that was taken")
            {
                return Some(problem);
            }
            return None;
        }
        let schema = &self.0["components"]["schemas"]["Error"];
        if status == 401 {
            return (!reply.is_string()).then(|| "401 must have a plain text body".to_owned());
        }
        self.validate(schema, reply, "error").err()
    }

    /// The operation of a path, found by its template; a template without parameters wins.
    pub fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let paths = self.0["paths"].as_object().unwrap();
        let method = method.to_lowercase();
        let fits = |template: &str| {
            let (want, have) = (template.split('/'), path.split('/'));
            template.split('/').count() == path.split('/').count()
                && want.zip(have).all(|(want, have)| want == have || want.starts_with('{'))
        };
        let mut found: Vec<_> = paths.iter().filter(|(template, _)| fits(template)).collect();
        found.sort_by_key(|(template, _)| template.matches('{').count());
        found.iter().find_map(|(_, item)| item.get(&method))
    }

    /// Checks a value against a schema.
    pub fn validate(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.0.pointer(reference.strip_prefix('#').unwrap());
            return self.validate(target.unwrap_or_else(|| panic!("{reference} leads nowhere")), value, at);
        }
        if value.is_null() && schema["nullable"] == true {
            return Ok(());
        }
        if let Some(options) = schema["oneOf"].as_array() {
            let problems: Vec<String> =
                options.iter().filter_map(|option| self.validate(option, value, at).err()).collect();
            if problems.len() == options.len() {
                return Err(format!("{at}: no form fits: {}", problems.join(" | ")));
            }
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.validate(part, value, at)?;
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            return Err(format!("{at}: {value} is none of {}", schema["enum"]));
        }
        let right_type = match schema["type"].as_str() {
            None => true,
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("number") => value.is_number(),
            Some("integer") => value.is_u64() || value.is_i64(),
            Some(other) => panic!("type {other} is not known here"),
        };
        if !right_type {
            return Err(format!("{at}: {value:.100} is not of type {}", schema["type"]));
        }
        if let (Some(minimum), Some(number)) = (schema["minimum"].as_f64(), value.as_f64())
            && number < minimum
        {
            return Err(format!("{at}: {number} is less than {minimum}"));
        }
        if let Some(elements) = value.as_array()
            && !schema["items"].is_null()
        {
            for (position, element) in elements.iter().enumerate() {
                self.validate(&schema["items"], element, &format!("{at}[{position}]"))?;
            }
        }
        self.validate_object(schema, value, at)
    }

    fn validate_object(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let Some(object) = value.as_object() else { return Ok(()) };
        for required in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(required.as_str().unwrap()) {
                return Err(format!("{at}: {required} is missing"));
            }
        }
        for (key, inner) in object {
            let at = format!("{at}.{key}");
            match (schema["properties"].get(key), &schema["additionalProperties"]) {
                (Some(property), _) => self.validate(property, inner, &at)?,
                (None, Value::Bool(false)) => return Err(format!("{at} is not in the document")),
                (None, additional @ Value::Object(_)) => self.validate(additional, inner, &at)?,
                _ => {}
            }
        }
        Ok(())
    }
}
