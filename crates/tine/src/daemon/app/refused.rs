//! Addresses that workers cannot have, and who has them.

use rustix::io::Errno;
use tine_cluster::address::ListenKey;
use tokio::task::spawn_blocking;

use super::App;
use crate::{client::Client, holder};

/// An instance, and what its worker was told.
pub(super) type Sought = (u32, String);

/// The address is somebody else's.
#[derive(Debug)]
pub(super) struct Taken {
    sought: Sought,
    /// Who has it, in words.
    holder: String,
}

impl App {
    /// A worker was refused an address. Where somebody else has it, that is told with who it is.
    pub(super) fn refused(&mut self, instance: u32, key: ListenKey, errno: Errno) {
        let text = format!("cannot listen on {key}: {errno}");
        if errno != Errno::ADDRINUSE {
            return self.trouble(instance, "refused", text);
        }
        if let Some(slot) = self.slots.get_mut(&instance) {
            slot.failure = Some(text.clone());
        }
        let sought = (instance, text);
        // A worker may ask again and again meanwhile.
        if !self.sought.insert(sought.clone()) {
            return;
        }
        let (tell, home) = (self.inputs.holders.0.clone(), self.shared.home.clone());
        let own = self.spec.name.clone();
        tokio::spawn(async move {
            // As any client does: an app knows nothing of the others.
            let apps = spawn_blocking(move || Client::ports(&home).unwrap_or_default()).await;
            let mut apps = apps.unwrap_or_default();
            apps.retain(|report| report.app != own);
            let holder = holder::of(&key, apps).await;
            // The app may have gone.
            let _ = tell.send(Taken { sought, holder });
        });
    }

    pub(super) fn is_taken(&mut self, Taken { sought, holder }: Taken) {
        self.sought.remove(&sought);
        let (instance, text) = sought;
        let whole = format!("{text}: {holder}");
        let Some(slot) = self.slots.get_mut(&instance) else { return };
        // It may serve by now, or have been given up.
        slot.failure = slot.failure.take().map(|failure| failure.replace(&text, &whole));
        let id = slot.id;
        self.tell(&format!("{id} {whole}"));
        self.note(Some(id), "refused", whole);
    }
}
