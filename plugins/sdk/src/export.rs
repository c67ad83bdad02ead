//! The macros that turn a plugin into a component. Natively they do nothing, so that the same
//! library links as a built-in.

/// Exports a plugin that implements [`crate::Authenticate`] as a component.
#[macro_export]
macro_rules! export_authenticator {
    ($plugin:ty) => {
        $crate::export_in!($plugin, authenticator);
    };
}

/// Exports a plugin that implements [`crate::Authorize`] as a component.
#[macro_export]
macro_rules! export_authorizer {
    ($plugin:ty) => {
        $crate::export_in!($plugin, authorizer);
    };
}

/// Exports a plugin that implements both hooks as a component.
#[macro_export]
macro_rules! export_policy {
    ($plugin:ty) => {
        $crate::export_in!($plugin, policy);
    };
}

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! export_in {
    ($plugin:ty, $world:ident) => {
        const _: () = {
            impl $crate::guest::InstanceSlot for $plugin {
                fn slot() -> &'static ::std::sync::OnceLock<Self> {
                    static SLOT: ::std::sync::OnceLock<$plugin> = ::std::sync::OnceLock::new();
                    &SLOT
                }
            }
            type Exported = $crate::guest::Component<$plugin>;
            $crate::export_hooks!(Exported, $world);
        };
    };
}

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! export_hooks {
    ($exported:ident, authenticator) => {
        $crate::export_interface!($exported, plugin, __export_witgate_auth_plugin_0_1_0_cabi);
        $crate::export_interface!($exported, authentication, __export_witgate_auth_authentication_0_1_0_cabi);
        $crate::export_world!("component-type:witgate:auth@0.1.0:authenticator", AUTHENTICATOR);
    };
    ($exported:ident, authorizer) => {
        $crate::export_interface!($exported, plugin, __export_witgate_auth_plugin_0_1_0_cabi);
        $crate::export_interface!($exported, authorization, __export_witgate_auth_authorization_0_1_0_cabi);
        $crate::export_interface!(
            $exported,
            list_authorization,
            __export_witgate_auth_list_authorization_0_1_0_cabi
        );
        $crate::export_world!("component-type:witgate:auth@0.1.0:list-authorizer", LIST_AUTHORIZER);
    };
    ($exported:ident, policy) => {
        $crate::guest::worlds::export!($exported with_types_in $crate::guest::worlds);
    };
}

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! export_interface {
    ($exported:ident, $interface:ident, $export:ident) => {
        $crate::guest::worlds::exports::witgate::auth::$interface::$export!(
            $exported with_types_in $crate::guest::worlds::exports::witgate::auth::$interface
        );
    };
}

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! export_world {
    ($section:literal, $world:ident) => {
        #[unsafe(link_section = $section)]
        #[used]
        static WORLD: [u8; $crate::guest::$world.len()] = *$crate::guest::$world;
    };
}

#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! export_in {
    ($plugin:ty, $world:ident) => {};
}
